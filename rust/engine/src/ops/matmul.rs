//! Matrix products, with what is done to each block of the result while it is in cache.

use flowrs_kernels::gemm::{Epilogue, GemmAlgorithm, Matrix, MatrixMut, gemm};
use flowrs_kernels::{Element, Float, Isa, Parallel, Serial, for_each_chunk};

use super::attributes::Attributes;
use super::{Lowering, Op, Work, expect_float, expect_same_dtype, with_float};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::{Kernel, Step};
use crate::types::TensorType;

/// What follows the product inside the kernel; its vector or matrix is the third input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fused {
    /// Nothing.
    None,
    /// A bias for each column is added.
    Bias,
    /// A bias for each column is added, then negative elements become 0.
    BiasRelu,
    /// Negative elements become 0.
    Relu,
    /// Elements become 0 where the third input is not positive: the gradient of a relu.
    ReluMask,
}

impl Fused {
    fn takes_input(self) -> bool {
        matches!(self, Self::Bias | Self::BiasRelu | Self::ReluMask)
    }
}

/// `alpha * op(a) * op(b)` for matrices, or for stacks of matrices of the same height.
#[derive(Clone, Debug)]
pub struct MatMul {
    /// Whether `op(a)` is the transpose of the first input.
    pub transpose_a: bool,
    /// Whether `op(b)` is the transpose of the second input.
    pub transpose_b: bool,
    /// Factor of the product.
    pub alpha: f64,
    /// What follows.
    pub fused: Fused,
}

/// The sizes of a product: how many, and rows, depth and columns of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) batch: usize,
    pub(crate) m: usize,
    pub(crate) k: usize,
    pub(crate) n: usize,
}

impl Sizes {
    pub(crate) fn work(self) -> Work {
        let Self { batch, m, k, n } = self;
        Work::Multiplies(batch.saturating_mul(m).saturating_mul(k).saturating_mul(n))
    }
}

impl MatMul {
    /// Reads `transpose_a`, `transpose_b` and `alpha`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self {
            transpose_a: attributes.bool("transpose_a")?,
            transpose_b: attributes.bool("transpose_b")?,
            alpha: attributes.float("alpha")?,
            fused: Fused::None,
        })
    }

    fn plain(transpose_a: bool, transpose_b: bool, alpha: f64) -> Self {
        Self { transpose_a, transpose_b, alpha, fused: Fused::None }
    }

    /// Checks the two matrices and gives the sizes of their product.
    pub(crate) fn sizes(&self, a: &TensorType, b: &TensorType) -> Result<Sizes, Error> {
        expect_float(a, "a")?;
        expect_same_dtype(a, b)?;
        let rank = a.rank();
        let clash = |what: &str| {
            let (a, b) = (&a.shape, &b.shape);
            let mark = |transposed| if transposed { " transposed" } else { "" };
            let (ta, tb) = (mark(self.transpose_a), mark(self.transpose_b));
            Err(Error::Shape(format!("{what}: {a:?}{ta} x {b:?}{tb}")))
        };
        if rank < 2 || b.rank() != rank {
            return clash("both must be matrices, or stacks of matrices of equal rank");
        }
        if a.shape[..rank - 2] != b.shape[..rank - 2] {
            return clash("the stacks differ");
        }
        let (mut m, mut k) = (a.shape[rank - 2], a.shape[rank - 1]);
        let (mut depth, mut n) = (b.shape[rank - 2], b.shape[rank - 1]);
        if self.transpose_a {
            std::mem::swap(&mut m, &mut k);
        }
        if self.transpose_b {
            std::mem::swap(&mut depth, &mut n);
        }
        if k != depth {
            return clash("inner dimensions differ");
        }
        Ok(Sizes { batch: a.shape[..rank - 2].iter().product(), m, k, n })
    }

    /// The matrix that a stored matrix stands for.
    pub(crate) fn operand<T: Element>(
        data: &[T],
        rows: usize,
        columns: usize,
        transposed: bool,
    ) -> Matrix<'_, T> {
        match transposed {
            false => Matrix::row_major(data, rows, columns),
            true => Matrix::row_major(data, columns, rows).transposed(),
        }
    }

    fn run<T: Float>(&self, step: &Step<'_>, isa: Isa, sizes: Sizes, alpha: T) {
        let Sizes { batch, m, k, n } = sizes;
        let (a, b, c) = (step.input::<T>(0), step.input::<T>(1), step.output::<T>(0));
        let third = self.fused.takes_input().then(|| step.input::<T>(2));
        let (algorithm, beta) = (GemmAlgorithm::Blocked, T::ZERO);
        let one = |parallel: &dyn Parallel, i: usize, c: &mut [T]| {
            let a = Self::operand(&a[i * m * k..][..m * k], m, k, self.transpose_a);
            let b = Self::operand(&b[i * k * n..][..k * n], k, n, self.transpose_b);
            let third = third.unwrap_or(&[]);
            let epilogue = match self.fused {
                Fused::None => Epilogue::None,
                Fused::Relu => Epilogue::Relu,
                Fused::Bias => Epilogue::Bias { bias: third, relu: false },
                Fused::BiasRelu => Epilogue::Bias { bias: third, relu: true },
                Fused::ReluMask => Epilogue::ReluMask { reference: &third[i * m * n..][..m * n] },
            };
            let c = MatrixMut::row_major(c, m, n);
            gemm(isa, parallel, algorithm, alpha, a, b, beta, c, epilogue);
        };
        match batch {
            1 => one(step.parallel(), 0, c),
            _ if m * n == 0 => {}
            // A stack is cut between its matrices: there are enough of them to share out.
            _ => for_each_chunk(step.parallel(), c, m * n, &|i, c| one(&Serial, i, c)),
        }
    }
}

impl Op for MatMul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn attributes(&self) -> String {
        let mut parts = vec![];
        if self.transpose_a {
            parts.push("transpose_a".to_owned());
        }
        if self.transpose_b {
            parts.push("transpose_b".to_owned());
        }
        if self.alpha != 1.0 {
            parts.push(format!("alpha={}", self.alpha));
        }
        match self.fused {
            Fused::None => {}
            Fused::Bias => parts.push("+bias".into()),
            Fused::BiasRelu => parts.push("+bias +relu".into()),
            Fused::Relu => parts.push("+relu".into()),
            Fused::ReluMask => parts.push("+relu_gradient".into()),
        }
        parts.join(", ")
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let expected = 2 + usize::from(self.fused.takes_input());
        if inputs.len() != expected {
            return Err(Error::Argument(format!("takes {expected} inputs, not {}", inputs.len())));
        }
        let (a, b) = (inputs[0], inputs[1]);
        let Sizes { m, n, .. } = self.sizes(a, b)?;
        let mut shape = a.shape.clone();
        let rank = shape.len();
        (shape[rank - 2], shape[rank - 1]) = (m, n);
        if let Some(third) = inputs.get(2) {
            let wanted = if self.fused == Fused::ReluMask { shape.clone() } else { vec![n] };
            expect_same_dtype(a, third)?;
            if third.shape != wanted {
                let found = &third.shape;
                return Err(Error::Shape(format!("{wanted:?} is needed after it, not {found:?}")));
            }
        }
        Ok(vec![a.with_shape(shape)])
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None, None]) };
        debug_assert_eq!(self.fused, Fused::None, "fusion comes after differentiation");
        let (a, b) = (node.inputs[0], node.inputs[1]);
        let mut product = |x, y, tx, ty| g.derive(Self::plain(tx, ty, self.alpha), &[x, y]);
        let (da, db) = match (self.transpose_a, self.transpose_b) {
            (false, false) => (product(dy, b, false, true)?, product(a, dy, true, false)?),
            (false, true) => (product(dy, b, false, false)?, product(dy, a, true, false)?),
            (true, false) => (product(b, dy, false, true)?, product(a, dy, false, false)?),
            (true, true) => (product(b, dy, true, true)?, product(dy, a, true, true)?),
        };
        Ok(vec![Some(da), Some(db)])
    }

    fn work(&self, lowering: &Lowering<'_>) -> Work {
        let sizes = self.sizes(lowering.inputs[0], lowering.inputs[1]);
        sizes.map_or(Work::Other, Sizes::work)
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let (a, b) = (lowering.inputs[0], lowering.inputs[1]);
        let sizes = self.sizes(a, b)?;
        let isa = lowering.settings.isa;
        let this = self.clone();
        with_float!(a.dtype, T => {
            Ok(Box::new(move |step| {
                this.run::<T>(step, isa, sizes, this.alpha as T);
                Ok(())
            }))
        })
    }
}
