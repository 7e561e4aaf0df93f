//! Operations: what each means, how it differentiates, and which kernel runs it.
//!
//! One file an operation (or a row of the table in `elementwise`), and one line in
//! [`REGISTRY`] that gives it the name by which Python asks for it.

pub mod add_n;
pub mod argmax;
pub mod assign;
pub mod attributes;
pub mod batch_norm;
pub mod bias_add;
pub mod broadcast;
pub mod cast;
pub mod concat;
pub mod convolution;
pub mod cross_entropy;
pub mod dim_gather;
pub mod dropout;
pub mod elementwise;
pub mod gather;
pub mod gather_nd;
pub mod indexing;
pub mod layer_norm;
pub mod layout;
pub mod learning_rate;
pub mod matmul;
pub mod matmul_update;
pub mod moving_average;
pub mod one_hot;
pub mod pad;
pub mod pooling;
pub mod random;
pub mod reduce;
pub mod resample;
pub mod reshape;
pub mod slice;
pub mod softmax;
pub mod sort;
pub mod sparse_cross_entropy;
pub mod step_counter;
pub mod transpose;
pub mod triangle;
pub mod update;
pub mod window;

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use attributes::Attributes;
use layout::ChannelsLast;

use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::settings::Settings;
use crate::step::Kernel;
use crate::types::TensorType;

/// What an operation's `lower` may look at: everything that is known when a plan is made.
#[derive(Debug)]
pub struct Lowering<'a> {
    /// Types of the inputs.
    pub inputs: Vec<&'a TensorType>,
    /// Types of the outputs.
    pub outputs: Vec<&'a TensorType>,
    /// The input whose memory the first output takes over, where the planner decided so.
    pub in_place: Option<usize>,
    /// Instruction set and the like.
    pub settings: Settings,
}

/// What the kernel of an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Little more than to read and write each byte once.
    Moves,
    /// So many multiplications of a product or convolution.
    Multiplies(usize),
    /// More with each byte than [`Work::Moves`], nobody says how much.
    Other,
}

/// One kind of operation.
pub trait Op: Any + Debug + Send + Sync {
    /// The name in the registry, in messages and in plans.
    fn name(&self) -> &'static str;

    /// The attributes as short text, for graphs and plans.
    fn attributes(&self) -> String {
        String::new()
    }

    /// Types of the outputs. The only place where shapes and dtypes of the inputs are checked.
    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error>;

    /// The same operation on values whose channels are moved from the second axis to the last one, if
    /// there is such a form; `there` says which inputs can be had so at no cost.
    fn channels_last(&self, inputs: &[&TensorType], there: &[bool]) -> Option<ChannelsLast> {
        let _ = (inputs, there);
        None
    }

    /// Whether that form, if there is one, is the better one under the settings. With `beside` an input
    /// is there with channels last, or an operation that reads an output takes it so.
    fn pays_channels_last(&self, inputs: &[&TensorType], beside: bool, settings: Settings) -> bool {
        let _ = (inputs, beside, settings);
        true
    }

    /// Adds to `g` the gradient of each input, given those of the outputs (`None`: zero). The
    /// result may have the output's shape where the input was broadcast to it.
    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let _ = (g, dy);
        Err(Error::Graph(format!("{} ({}) has no gradient", self.name(), node.name)))
    }

    /// Chooses the kernel; called once, when the plan is made.
    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error>;

    /// The algorithm that the kernel takes, where there is a choice.
    fn algorithm(&self, lowering: &Lowering<'_>) -> Result<&'static str, Error> {
        let _ = lowering;
        Ok("")
    }

    /// Bytes of working memory that the kernel wants.
    fn scratch_bytes(&self, lowering: &Lowering<'_>) -> Result<usize, Error> {
        let _ = lowering;
        Ok(0)
    }

    /// What the kernel does, for an estimate of its time.
    fn work(&self, lowering: &Lowering<'_>) -> Work {
        let _ = lowering;
        Work::Other
    }

    /// True where the output is the input's memory under another shape: no kernel runs.
    fn is_view(&self) -> bool {
        false
    }

    /// Inputs whose memory the first output may take over.
    fn in_place(&self) -> &'static [usize] {
        &[]
    }

    /// Inputs that are variables and are changed in place.
    fn updates(&self) -> &'static [usize] {
        &[]
    }

    /// True where what the inputs hold can make the operation fail.
    fn can_fail(&self) -> bool {
        false
    }
}

/// A registered operation.
#[derive(Debug)]
pub struct Registration {
    /// The name by which Python asks for it.
    pub name: &'static str,
    /// Makes the operation from its attributes.
    pub build: fn(&mut Attributes) -> Result<Arc<dyn Op>, Error>,
}

macro_rules! registry {
    ($($name:literal => $module:ident::$op:ident,)*) => {
        &[$(Registration {
            name: $name,
            build: |attributes| Ok(Arc::new($module::$op::from_attributes(attributes)?)),
        }),*]
    };
}

/// The operations that are not rows of the elementwise table.
static REGISTRY: &[Registration] = registry! {
    "adam_update" => update::AdamUpdate,
    "add_n" => add_n::AddN,
    "argmax" => argmax::Argmax,
    "argsort" => sort::Argsort,
    "assign" => assign::Assign,
    "avg_pool" => pooling::AvgPool,
    "batch_norm" => batch_norm::BatchNorm,
    "batch_norm_fixed" => batch_norm::BatchNormFixed,
    "bias_add" => bias_add::BiasAdd,
    "broadcast_to" => broadcast::BroadcastTo,
    "cast" => cast::Cast,
    "concat" => concat::Concat,
    "convolution" => convolution::Convolution,
    "convolution_input_gradient" => convolution::ConvolutionInputGradient,
    "diagonal" => triangle::Diagonal,
    "diagonal_matrix" => triangle::DiagonalMatrix,
    "dim_gather" => dim_gather::DimGather,
    "dropout" => dropout::Dropout,
    "gather" => gather::Gather,
    "gather_nd" => gather_nd::GatherNd,
    "identity" => reshape::Identity,
    "in_top_k" => sort::InTopK,
    "layer_norm" => layer_norm::LayerNorm,
    "learning_rate" => learning_rate::LearningRate,
    "log_softmax" => softmax::LogSoftmax,
    "matmul" => matmul::MatMul,
    "max_pool" => pooling::MaxPool,
    "momentum_update" => update::MomentumUpdate,
    "moving_average" => moving_average::MovingAverage,
    "one_hot" => one_hot::OneHot,
    "pad" => pad::Pad,
    "random_mask" => random::RandomMask,
    "random_uniform" => random::RandomUniform,
    "reduce_max" => reduce::ReduceMax,
    "reduce_min" => reduce::ReduceMin,
    "reduce_prod" => reduce::ReduceProd,
    "reduce_sum" => reduce::ReduceSum,
    "reflection_pad2d" => resample::ReflectionPad,
    "replication_pad2d" => resample::ReplicationPad,
    "reshape" => reshape::Reshape,
    "scatter_nd" => gather_nd::ScatterNd,
    "sgd_update" => update::SgdUpdate,
    "slice" => slice::Slice,
    "slice_update" => slice::SliceUpdate,
    "softmax" => softmax::Softmax,
    "softmax_cross_entropy" => cross_entropy::SoftmaxCrossEntropy,
    "sort" => sort::Sort,
    "sparse_cross_entropy" => sparse_cross_entropy::SparseCrossEntropy,
    "sparse_softmax_cross_entropy" => sparse_cross_entropy::SparseSoftmaxCrossEntropy,
    "step_increment" => step_counter::StepIncrement,
    "tensor_scatter_nd_add" => gather_nd::TensorScatterAdd,
    "tensor_scatter_nd_update" => gather_nd::TensorScatterUpdate,
    "top_k" => sort::TopK,
    "transpose" => transpose::Transpose,
    "tril" => triangle::Tril,
    "unsorted_segment_sum" => gather::SegmentSum,
    "upsample" => resample::Upsample,
};

/// The names of all operations that Python can ask for.
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<&'static str> = REGISTRY.iter().map(|entry| entry.name).collect();
    names.extend(elementwise::TABLE.iter().map(|row| row.name));
    names.sort_unstable();
    names
}

/// Makes the operation with this name from its attributes.
pub fn build(name: &str, mut attributes: Attributes) -> Result<Arc<dyn Op>, Error> {
    let op: Arc<dyn Op> = match REGISTRY.iter().find(|entry| entry.name == name) {
        Some(entry) => (entry.build)(&mut attributes).map_err(|error| error.within(name))?,
        None => Arc::new(elementwise::Elementwise::from_attributes(name, &mut attributes)?),
    };
    attributes.finish(name)?;
    Ok(op)
}

/// Runs `$body` with the Rust type of a floating point dtype bound to `$T`.
macro_rules! with_float {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            $crate::types::DType::F32 => {
                type $T = f32;
                $body
            }
            $crate::types::DType::F64 => {
                type $T = f64;
                $body
            }
            other => Err($crate::error::Error::DType(format!(
                "needs float32 or float64, not {}",
                $crate::types::dtype_name(other)
            ))),
        }
    };
}

/// Runs `$body` with the Rust type of any dtype bound to `$T`.
macro_rules! with_element {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            $crate::types::DType::F32 => {
                type $T = f32;
                $body
            }
            $crate::types::DType::F64 => {
                type $T = f64;
                $body
            }
            $crate::types::DType::I8 => {
                type $T = i8;
                $body
            }
            $crate::types::DType::I32 => {
                type $T = i32;
                $body
            }
            $crate::types::DType::I64 => {
                type $T = i64;
                $body
            }
            $crate::types::DType::U8 => {
                type $T = u8;
                $body
            }
        }
    };
}

pub(crate) use {with_element, with_float};

/// Checks the number of inputs.
pub(crate) fn expect_inputs<const N: usize>(
    inputs: &[&TensorType],
) -> Result<[TensorType; N], Error> {
    let owned: Vec<TensorType> = inputs.iter().map(|ty| (*ty).clone()).collect();
    owned.try_into().map_err(|_| Error::Argument(format!("takes {N} inputs, not {}", inputs.len())))
}

/// Checks that a dtype is a floating point type.
pub(crate) fn expect_float(ty: &TensorType, what: &str) -> Result<(), Error> {
    match ty.dtype.is_float() {
        true => Ok(()),
        false => Err(Error::DType(format!(
            "{what} must be float32 or float64, not {}",
            crate::types::dtype_name(ty.dtype)
        ))),
    }
}

/// Checks that two dtypes are equal.
pub(crate) fn expect_same_dtype(a: &TensorType, b: &TensorType) -> Result<(), Error> {
    use crate::types::dtype_name;
    match a.dtype == b.dtype {
        true => Ok(()),
        false => Err(Error::DType(format!(
            "dtypes differ: {} and {}; cast one of them",
            dtype_name(a.dtype),
            dtype_name(b.dtype)
        ))),
    }
}
