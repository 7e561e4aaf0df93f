//! What may steer a plan without being part of the graph.

use flowrs_kernels::Isa;
use flowrs_kernels::convolution::Algorithm;

use crate::error::Error;

/// Settings that a plan is made under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The instruction set of our kernels.
    pub isa: Isa,
    /// Whether passes may fuse operations; off in tests that compare with the unfused plan.
    pub fuse: bool,
    /// The algorithms that convolutions take where they apply; none: the fastest one.
    pub convolution: &'static [Algorithm],
    /// Which algorithms are exact enough.
    pub precision: Precision,
    /// Which small steps run side by side.
    pub side_by_side: SideBySide,
}

/// Which small steps run side by side on several threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SideBySide {
    /// Those that save time enough to keep other threads awake.
    #[default]
    WhereItPays,
    /// All that do not need each other: for tests.
    Always,
    /// None: for comparison.
    Never,
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
    /// The largest [`Algorithm::error_ratio`].
    pub fn limit(self) -> f64 {
        match self {
            Self::Default => 12.0,
            Self::Strict => 2.5,
        }
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

/// The algorithms with this name; none for `auto`.
pub fn parse_convolution(name: &str) -> Result<&'static [Algorithm], Error> {
    match name {
        "auto" => Ok(&[]),
        "direct" => Ok(&[Algorithm::Direct]),
        "winograd" => Ok(&[Algorithm::Winograd6, Algorithm::Winograd8]),
        "im2col" => Ok(&[Algorithm::Im2col]),
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
        let (convolution, precision) = (&[], Precision::default());
        Ok(Self { isa, fuse: true, convolution, precision, side_by_side: SideBySide::default() })
    }
}
