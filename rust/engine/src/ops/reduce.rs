//! Reductions over axes.

use std::sync::Arc;

use flowrs_kernels::reduce::{self as kernels, Reduction};

use super::attributes::Attributes;
use super::cast::Cast;
use super::layout::ChannelsLast;
use super::{Lowering, Op, Work, expect_inputs, with_element};
use crate::error::Error;
use crate::graph::{Builder, Node, Number, ValueId};
use crate::step::Kernel;
use crate::types::TensorType;

/// Reduces over `axes`. A result without axes has shape `(1,)`: there is no shape `()`.
#[derive(Clone, Debug)]
pub struct Reduce {
    reduction: Reduction,
    axes: Vec<usize>,
    keep: bool,
}

macro_rules! registered {
    ($($(#[$documentation:meta])* $name:ident => $reduction:ident,)*) => {$(
        $(#[$documentation])*
        #[derive(Debug)]
        pub struct $name;

        impl $name {
            /// Reads `axes` and `keepdims`.
            pub fn from_attributes(attributes: &mut Attributes) -> Result<Reduce, Error> {
                Reduce::from_attributes(Reduction::$reduction, attributes)
            }
        }
    )*};
}

registered! {
    /// Builds sums for the registry.
    ReduceSum => Sum,
    /// Builds maxima for the registry.
    ReduceMax => Max,
    /// Builds minima for the registry.
    ReduceMin => Min,
    /// Builds products for the registry.
    ReduceProd => Product,
}

impl Reduce {
    fn from_attributes(reduction: Reduction, attributes: &mut Attributes) -> Result<Self, Error> {
        let axes = attributes.sizes("axes")?;
        Ok(Self { reduction, axes, keep: attributes.bool("keepdims")? })
    }

    /// The sum over the given axes, which are dropped.
    pub fn sum(axes: &[usize]) -> Self {
        Self { reduction: Reduction::Sum, axes: axes.to_vec(), keep: false }
    }

    /// Whether it is a sum over all axes but `axis`.
    pub(crate) fn is_sum_but(&self, axis: usize) -> bool {
        let others = (0..=self.axes.len()).filter(|other| *other != axis);
        self.reduction == Reduction::Sum && !self.keep && others.eq(self.axes.iter().copied())
    }

    /// `dy` times the product of all other factors, right where factors are 0 too: with one zero
    /// only that one has a gradient, with several none has.
    fn product_gradient(
        &self,
        g: &mut Builder,
        x: ValueId,
        kept: &[usize],
        dy: ValueId,
    ) -> Result<ValueId, Error> {
        let is_zero = g.formula("is_zero", &[x], |f| f.operand(0).is_zero().register())?;
        let zeros = g.derive(Self::sum(&self.axes), &[is_zero])?;
        let zeros = g.reshape(zeros, kept)?;
        let others = g.formula("zero_to_one", &[x], |f| {
            let x = f.operand(0);
            x.is_zero().choose(f.number(Number::Integer(1)), x).register()
        })?;
        let product = Self { keep: true, ..self.clone() };
        let product = g.derive(product, &[others])?;
        let product = g.reshape(product, kept)?;
        g.formula("reduce_prod_gradient", &[x, zeros, product, dy], |f| {
            let (x, zeros, product, dy) = (f.operand(0), f.operand(1), f.operand(2), f.operand(3));
            let zero = f.number(Number::Integer(0));
            let one = f.number(Number::Integer(1));
            let of_the_zero = zeros.equal(one).choose(product, zero);
            let of_others = zeros.is_zero().choose(product / x, zero);
            (dy * x.is_zero().choose(of_the_zero, of_others)).register()
        })
    }

    fn kept_shape(&self, x: &TensorType) -> Vec<usize> {
        let mut shape = x.shape.clone();
        for &axis in &self.axes {
            shape[axis] = 1;
        }
        shape
    }
}

impl Op for Reduce {
    fn name(&self) -> &'static str {
        match self.reduction {
            Reduction::Sum => "reduce_sum",
            Reduction::Max => "reduce_max",
            Reduction::Min => "reduce_min",
            Reduction::Product => "reduce_prod",
        }
    }

    fn attributes(&self) -> String {
        let keep = if self.keep { ", keepdims" } else { "" };
        format!("axes={:?}{keep}", self.axes)
    }

    /// Where all axes but the channels' are reduced, and nothing has to be put back in order.
    fn channels_last(&self, inputs: &[&TensorType], there: &[bool]) -> Option<ChannelsLast> {
        let rank = inputs[0].rank();
        let others = (0..rank).filter(|axis| *axis != 1);
        if !there[0] || self.keep || !others.eq(self.axes.iter().copied()) {
            return None;
        }
        let op = Self { axes: (0..rank - 1).collect(), ..self.clone() };
        Some(ChannelsLast { op: Arc::new(op), inputs: vec![true], outputs: vec![false] })
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x] = expect_inputs(inputs)?;
        let rank = x.rank();
        if let Some(axis) = self.axes.iter().find(|axis| **axis >= rank) {
            return Err(Error::Shape(format!("there is no axis {axis} in {:?}", x.shape)));
        }
        let extremum = matches!(self.reduction, Reduction::Max | Reduction::Min);
        if extremum && self.axes.iter().any(|&axis| x.shape[axis] == 0) {
            return Err(Error::Shape(format!("an empty axis of {:?} has no maximum", x.shape)));
        }
        let mut shape = self.kept_shape(&x);
        if !self.keep {
            let dropped = |axis: &usize| self.axes.contains(axis);
            shape = (0..rank).filter(|axis| !dropped(axis)).map(|axis| shape[axis]).collect();
        }
        if shape.is_empty() {
            shape.push(1);
        }
        Ok(vec![x.with_shape(shape)])
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None]) };
        let x = node.inputs[0];
        let (full, kept) = (g.ty(x).shape.clone(), self.kept_shape(g.ty(x)));
        let dy = g.reshape(dy, &kept)?;
        let dx = match self.reduction {
            Reduction::Sum => g.broadcast_to(dy, &full)?,
            Reduction::Max | Reduction::Min => {
                // Equal extrema share the gradient evenly, as in the original.
                let y = g.reshape(node.outputs[0], &kept)?;
                let is_extremum = g.elementwise("equal", &[x, y])?;
                let mask = g.derive(Cast::to(g.ty(x).dtype), &[is_extremum])?;
                let count = g.derive(Self::sum(&self.axes), &[mask])?;
                let count = g.reshape(count, &kept)?;
                let share = g.elementwise("divide", &[dy, count])?;
                g.elementwise("multiply", &[mask, share])?
            }
            Reduction::Product => self.product_gradient(g, x, &kept, dy)?,
        };
        Ok(vec![Some(dx)])
    }

    fn work(&self, _lowering: &Lowering<'_>) -> Work {
        Work::Moves
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let x = lowering.inputs[0];
        let shape = x.shape.clone();
        let axes: Vec<bool> = (0..shape.len()).map(|axis| self.axes.contains(&axis)).collect();
        let (isa, reduction) = (lowering.settings.isa, self.reduction);
        with_element!(x.dtype, T => Ok(Box::new(move |step| {
            let (input, output) = (step.input::<T>(0), step.output::<T>(0));
            kernels::reduce(isa, step.parallel(), reduction, &shape, &axes, input, output);
            Ok(())
        })))
    }
}
