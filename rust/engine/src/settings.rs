//! What may steer a plan without being part of the graph.

use flowrs_kernels::Isa;

use crate::error::Error;

/// Settings that a plan is made under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The instruction set of our kernels.
    pub isa: Isa,
    /// Whether passes may fuse operations; off in tests that compare with the unfused plan.
    pub fuse: bool,
}

impl Settings {
    /// The settings of this process: `FLOWRS_ISA` chooses the instruction set.
    pub fn from_environment() -> Result<Self, Error> {
        let isa = match std::env::var("FLOWRS_ISA") {
            Ok(name) if !name.is_empty() => {
                Isa::parse(&name).map_err(|why| Error::Argument(format!("FLOWRS_ISA: {why}")))?
            }
            _ => Isa::detect(),
        };
        Ok(Self { isa, fuse: true })
    }
}
