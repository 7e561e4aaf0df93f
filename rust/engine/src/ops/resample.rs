//! Images read at other positions: mirrored and repeated borders, and enlargement.

use flowrs_kernels::resample::{Taps, resample};

use super::attributes::Attributes;
use super::{Lowering, Op, expect_float, expect_inputs, with_element};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::TensorType;

/// How rows, or columns, are resampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sampling {
    /// A border in which the image goes on mirrored; the edge itself is not repeated.
    Reflect { before: usize, after: usize },
    /// A border that repeats the edge.
    Replicate { before: usize, after: usize },
    /// Each position several times.
    Nearest { scale: usize },
    /// Weighted means of the two nearest positions; the outer edges of the images coincide.
    Bilinear { scale: usize },
}

/// The taps of each position: which positions of the input, with which weights.
type Lists = Vec<Vec<(usize, f64)>>;

impl Sampling {
    fn outputs(self, inputs: usize) -> Option<usize> {
        match self {
            Self::Reflect { before, after } | Self::Replicate { before, after } => {
                inputs.checked_add(before)?.checked_add(after)
            }
            Self::Nearest { scale } | Self::Bilinear { scale } => inputs.checked_mul(scale),
        }
    }

    fn taps(self, inputs: usize) -> Lists {
        let last = inputs.saturating_sub(1);
        let tap = |at: usize| match self {
            Self::Reflect { before, .. } => {
                let distance = at.abs_diff(before);
                let mirrored = if distance > last { 2 * last - distance } else { distance };
                vec![(mirrored, 1.0)]
            }
            Self::Replicate { before, .. } => vec![(at.saturating_sub(before).min(last), 1.0)],
            Self::Nearest { scale } => vec![(at / scale, 1.0)],
            Self::Bilinear { scale } => {
                let place = ((at as f64 + 0.5) / scale as f64 - 0.5).max(0.0);
                let (low, weight) = (place as usize, place.fract());
                match weight == 0.0 || low == last {
                    true => vec![(low, 1.0)],
                    false => vec![(low, 1.0 - weight), (low + 1, weight)],
                }
            }
        };
        (0..self.outputs(inputs).unwrap_or(0)).map(tap).collect()
    }
}

/// Resamples the rows and columns of images of rank 4.
#[derive(Clone, Debug)]
pub struct Resample {
    rows: Sampling,
    columns: Sampling,
    channels_last: bool,
}

/// The gradient of a [`Resample`] of images with these rows and columns.
#[derive(Clone, Debug)]
pub struct ResampleGradient {
    of: Resample,
    rows: usize,
    columns: usize,
}

/// Builds mirrored borders for the registry.
#[derive(Debug)]
pub struct ReflectionPad;

/// Builds repeated edges for the registry.
#[derive(Debug)]
pub struct ReplicationPad;

/// Builds enlargements for the registry.
#[derive(Debug)]
pub struct Upsample;

fn borders(
    attributes: &mut Attributes,
    sampling: fn(usize, usize) -> Sampling,
) -> Result<Resample, Error> {
    let padding = attributes.sizes("padding")?;
    let &[left, right, top, bottom] = padding.as_slice() else {
        return Err(Error::Argument(format!(
            "padding must be left, right, top and bottom, not {padding:?}"
        )));
    };
    let (rows, columns) = (sampling(top, bottom), sampling(left, right));
    Ok(Resample { rows, columns, channels_last: false })
}

impl ReflectionPad {
    /// Reads `padding`: left, right, top, bottom.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Resample, Error> {
        borders(attributes, |before, after| Sampling::Reflect { before, after })
    }
}

impl ReplicationPad {
    /// Reads `padding`: left, right, top, bottom.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Resample, Error> {
        borders(attributes, |before, after| Sampling::Replicate { before, after })
    }
}

impl Upsample {
    /// Reads `scales` (of rows and columns), `interpolation` and `channels_last`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Resample, Error> {
        let scales = attributes.sizes("scales")?;
        let interpolation = attributes.text("interpolation")?;
        let sampling = |scale| match interpolation.as_str() {
            _ if scale == 0 => Err(Error::Argument("scales must be above 0".into())),
            "nearest" => Ok(Sampling::Nearest { scale }),
            "bilinear" => Ok(Sampling::Bilinear { scale }),
            other => Err(Error::Argument(format!(
                "interpolation must be nearest or bilinear, not {other}"
            ))),
        };
        let &[rows, columns] = scales.as_slice() else {
            return Err(Error::Argument(format!("two scales are needed, found {scales:?}")));
        };
        let (rows, columns) = (sampling(rows)?, sampling(columns)?);
        Ok(Resample { rows, columns, channels_last: attributes.bool("channels_last")? })
    }
}

impl Resample {
    /// The number of images, the position of the rows in the shape, and the elements of a pixel.
    fn layout(&self, shape: &[usize]) -> (usize, usize, usize) {
        match self.channels_last {
            true => (shape[0], 1, shape[3]),
            false => (shape[0] * shape[1], 2, 1),
        }
    }

    fn check_images(&self, x: &TensorType) -> Result<(), Error> {
        if let Sampling::Bilinear { .. } = self.rows {
            expect_float(x, "what is interpolated")?;
        }
        match x.rank() {
            4 => Ok(()),
            _ => Err(Error::Shape(format!("needs images of rank 4, found {:?}", x.shape))),
        }
    }
}

impl Op for Resample {
    fn name(&self) -> &'static str {
        match self.rows {
            Sampling::Reflect { .. } => "reflection_pad2d",
            Sampling::Replicate { .. } => "replication_pad2d",
            Sampling::Nearest { .. } | Sampling::Bilinear { .. } => "upsample",
        }
    }

    fn attributes(&self) -> String {
        let last = if self.channels_last { ", channels_last" } else { "" };
        format!("rows={:?}, columns={:?}{last}", self.rows, self.columns)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x] = expect_inputs(inputs)?;
        self.check_images(&x)?;
        let (_, place, _) = self.layout(&x.shape);
        let mut shape = x.shape.clone();
        for (axis, sampling) in [(place, self.rows), (place + 1, self.columns)] {
            let size = shape[axis];
            let fits = match sampling {
                Sampling::Reflect { before, after } => before.max(after) < size,
                Sampling::Replicate { .. } => size > 0,
                Sampling::Nearest { .. } | Sampling::Bilinear { .. } => true,
            };
            let outputs = sampling.outputs(size).filter(|_| fits);
            shape[axis] = outputs.ok_or_else(|| {
                Error::Shape(format!("{sampling:?} is not possible for {size} positions"))
            })?;
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
        let shape = &g.ty(node.inputs[0]).shape;
        let (_, place, _) = self.layout(shape);
        let (rows, columns) = (shape[place], shape[place + 1]);
        let gradient = ResampleGradient { of: self.clone(), rows, columns };
        Ok(vec![Some(g.derive(gradient, &[dy])?)])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let x = lowering.inputs[0];
        let (planes, place, inner) = self.layout(&x.shape);
        let (rows_in, columns_in) = (x.shape[place], x.shape[place + 1]);
        with_element!(x.dtype, T => {
            let rows = Taps::<T>::new(rows_in, &self.rows.taps(rows_in));
            let columns = Taps::<T>::new(columns_in, &self.columns.taps(columns_in));
            Ok(Box::new(move |step| {
                let (input, output) = (step.input::<T>(0), step.output::<T>(0));
                resample(step.parallel(), planes, inner, &rows, &columns, input, output);
                Ok(())
            }))
        })
    }
}

impl Op for ResampleGradient {
    fn name(&self) -> &'static str {
        match self.of.rows {
            Sampling::Reflect { .. } => "reflection_pad2d_gradient",
            Sampling::Replicate { .. } => "replication_pad2d_gradient",
            Sampling::Nearest { .. } | Sampling::Bilinear { .. } => "upsample_gradient",
        }
    }

    fn attributes(&self) -> String {
        self.of.attributes()
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [dy] = expect_inputs(inputs)?;
        self.of.check_images(&dy)?;
        let (_, place, _) = self.of.layout(&dy.shape);
        let mut shape = dy.shape.clone();
        (shape[place], shape[place + 1]) = (self.rows, self.columns);
        Ok(vec![dy.with_shape(shape)])
    }

    fn gradient(
        &self,
        g: &mut Builder,
        _node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None]) };
        Ok(vec![Some(g.derive(self.of.clone(), &[dy])?)])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let dy = lowering.inputs[0];
        let (planes, _, inner) = self.of.layout(&dy.shape);
        with_element!(dy.dtype, T => {
            let rows = Taps::<T>::transposed(&self.of.rows.taps(self.rows), self.rows);
            let columns = Taps::<T>::transposed(&self.of.columns.taps(self.columns), self.columns);
            Ok(Box::new(move |step| {
                let (input, output) = (step.input::<T>(0), step.output::<T>(0));
                resample(step.parallel(), planes, inner, &rows, &columns, input, output);
                Ok(())
            }))
        })
    }
}
