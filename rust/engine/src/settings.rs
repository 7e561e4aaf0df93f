//! What may steer a plan without being part of the graph.

use flowrs_kernels::Isa;
use flowrs_kernels::convolution::{Algorithm, ConvolutionShape, Pass};

use crate::error::Error;

/// Settings that a plan is made under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The instruction set of our kernels.
    pub isa: Isa,
    /// Whether passes may fuse operations; off in tests that compare with the unfused plan.
    pub fuse: bool,
    /// The algorithm that convolutions take where it applies; none: the fastest one.
    pub convolution: Option<Algorithm>,
    /// Which algorithms are exact enough.
    pub precision: Precision,
}

/// How far an algorithm's largest error may exceed that of a plain sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// 12 times.
    #[default]
    Default,
    /// 2.5 times.
    Strict,
}

impl Precision {
    /// Whether an algorithm's results are exact enough.
    pub fn allows(self, algorithm: Algorithm, pass: Pass, shape: &ConvolutionShape) -> bool {
        let limit = match self {
            Self::Default => 12.0,
            Self::Strict => 2.5,
        };
        algorithm.error_ratio(pass, shape) <= limit
    }

    /// The precision with this name.
    pub fn parse(name: &str) -> Result<Self, Error> {
        match name {
            "default" => Ok(Self::Default),
            "strict" => Ok(Self::Strict),
            _ => Err(Error::Argument(format!(
                "precision must be \"default\" or \"strict\", not {name:?}"
            ))),
        }
    }
}

/// The algorithm with this name; none for `auto`.
pub fn parse_convolution(name: &str) -> Result<Option<Algorithm>, Error> {
    match name {
        "auto" => Ok(None),
        "direct" => Ok(Some(Algorithm::Direct)),
        "winograd" => Ok(Some(Algorithm::Winograd)),
        "im2col" => Ok(Some(Algorithm::Im2col)),
        _ => Err(Error::Argument(format!(
            "convolution_algorithm must be \"auto\", \"direct\", \"winograd\" or \"im2col\", not {name:?}"
        ))),
    }
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
        Ok(Self { isa, fuse: true, convolution: None, precision: Precision::default() })
    }
}
