//! Max pools for kernels that make their input image by image, and take its gradient row by row: so the
//! large arrays on the input's side of a pool are never in memory.

use super::planes::Planes;
use super::{PoolingShape, gradients};
use crate::parallel::Parts;
use crate::window::Layout;
use crate::{Float, Isa, Serial};

/// The result of a max pool, with the positions of the maxima if they are wanted: see
/// [`max_pool`](super::max_pool).
pub struct MaxPooled<'a, T> {
    image: PoolingShape,
    batch: usize,
    output: Parts<'a, T>,
    argmax: Option<Parts<'a, u8>>,
}

impl<'a, T: Float> MaxPooled<'a, T> {
    /// The result goes to `output` and `argmax`.
    ///
    /// # Panics
    /// If the sizes do not fit together, the channels do not lie last, or there is an `argmax` and the
    /// window has more elements than a byte can count.
    pub fn new(shape: &PoolingShape, output: &'a mut [T], argmax: Option<&'a mut [u8]>) -> Self {
        let pooled = Self {
            image: one_image(shape),
            batch: shape.batch,
            output: Parts::new(output),
            argmax: argmax.map(Parts::new),
        };
        let elements = pooled.batch * pooled.output_elements();
        assert_eq!(pooled.output.len(), elements, "the output does not have the shape's size");
        if let Some(argmax) = &pooled.argmax {
            assert!(shape.argmax_fits(), "the window has more elements than a byte can count");
            assert_eq!(argmax.len(), elements, "one position for each output");
        }
        pooled
    }

    /// The number of images, and the elements of each before it is pooled.
    pub(crate) fn input(&self) -> (usize, usize) {
        (self.batch, Planes::new(&self.image).input_elements())
    }

    fn output_elements(&self) -> usize {
        Planes::new(&self.image).output_elements()
    }

    /// Pools an image.
    ///
    /// # Safety
    /// Nobody pools the same image meanwhile.
    pub(crate) unsafe fn take(&self, isa: Isa, image: usize, pixels: &[T]) {
        let elements = self.output_elements();
        let start = image * elements;
        // SAFETY: images do not overlap, and the caller promises that this one is pooled here alone.
        let output = unsafe { self.output.range(start, elements) };
        // SAFETY: the same.
        let argmax = self.argmax.as_ref().map(|argmax| unsafe { argmax.range(start, elements) });
        super::max_pool(isa, &Serial, &self.image, pixels, output, argmax);
    }
}

/// The gradient to the input of a max pool: see [`max_pool_gradient`](super::max_pool_gradient).
pub struct MaxUnpooled<'a, T> {
    planes: Planes,
    batch: usize,
    argmax: &'a [u8],
    output_gradient: &'a [T],
}

impl<'a, T: Float> MaxUnpooled<'a, T> {
    /// The gradient from the positions of the maxima.
    ///
    /// # Panics
    /// If the sizes do not fit together, or the channels do not lie last.
    pub fn new(shape: &PoolingShape, argmax: &'a [u8], output_gradient: &'a [T]) -> Self {
        let planes = Planes::new(&one_image(shape));
        let elements = shape.batch * planes.output_elements();
        assert!(shape.argmax_fits(), "the window has more elements than a byte can count");
        assert_eq!(output_gradient.len(), elements, "the gradient has not the shape's size");
        assert_eq!(argmax.len(), elements, "one position for each output");
        Self { planes, batch: shape.batch, argmax, output_gradient }
    }

    /// The number of images, and the elements of each.
    pub(crate) fn input(&self) -> (usize, usize) {
        (self.batch, self.planes.input_elements())
    }

    /// Writes a row of an image: all channels of its pixels.
    pub(crate) fn row(&self, isa: Isa, image: usize, row: [usize; 2], to: &mut [T]) {
        let elements = self.planes.output_elements();
        let image = image * elements..(image + 1) * elements;
        let (argmax, gradient) = (&self.argmax[image.clone()], &self.output_gradient[image]);
        gradients::row(isa, &self.planes, row, argmax, gradient, to);
    }
}

/// The pool of a single image, whose channels must lie last.
fn one_image(shape: &PoolingShape) -> PoolingShape {
    assert!(
        shape.layout == Layout::ChannelsLast,
        "images are pooled where their channels lie last"
    );
    PoolingShape { batch: 1, ..*shape }
}
