//! Bringing operands into registers.

use super::Operand;
use crate::element::with_element;
use crate::shape::Sizes;
use crate::{Data, DataMut, Element};
use smallvec::{SmallVec, smallvec};

/// Where an operand's values come from.
pub(super) enum Source<'a, T> {
    /// Memory that holds them in the output's order and in the compute type.
    Dense(&'a [T]),
    /// One value for all elements.
    Same(T),
    /// Memory of another type or with other strides.
    Spread(Data<'a>),
    /// The old content of the output.
    Output,
}

/// The output's shape and the operands' strides over it, with as few dimensions as they allow.
pub(super) struct Layout {
    shape: Sizes,
    /// For each operand one stride per dimension.
    strides: SmallVec<[Sizes; 4]>,
}

impl Layout {
    pub(super) fn new(shape: &[usize], operands: &[Operand], in_place: Option<usize>) -> Layout {
        let mut layout =
            Layout { shape: Sizes::new(), strides: smallvec![Sizes::new(); operands.len()] };
        for (axis, &size) in shape.iter().enumerate().filter(|(_, size)| **size != 1) {
            // The dimension continues the one before it if every operand steps over it evenly.
            let merges = !layout.shape.is_empty()
                && operands.iter().zip(&layout.strides).enumerate().all(
                    |(i, (operand, strides))| {
                        in_place == Some(i)
                            || strides
                                .last()
                                .is_some_and(|&last| last == operand.strides[axis] * size)
                    },
                );
            if !merges {
                layout.shape.push(1);
                layout.strides.iter_mut().for_each(|strides| strides.push(0));
            }
            if let Some(last) = layout.shape.last_mut() {
                *last *= size;
            }
            for (operand, strides) in operands.iter().zip(&mut layout.strides) {
                if let Some(last) = strides.last_mut() {
                    *last = operand.strides[axis];
                }
            }
        }
        layout
    }

    /// Where the values of an operand with this data come from.
    pub(super) fn source<'a, T: Element>(&self, operand: usize, data: Data<'a>) -> Source<'a, T> {
        let strides = &self.strides[operand];
        if strides.iter().all(|&stride| stride == 0) && !data.is_empty() {
            let mut value = [T::ZERO];
            convert(&data, 0, &mut value);
            return Source::Same(value[0]);
        }
        match data.as_slice() {
            Some(slice) if self.is_dense(strides) => Source::Dense(slice),
            _ => Source::Spread(data),
        }
    }

    fn is_dense(&self, strides: &[usize]) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(strides).rev().all(|(&size, &stride)| {
            let dense = stride == expected;
            expected *= size;
            dense
        })
    }

    /// Fills `register` with the operand's values from element `first` of the output on.
    pub(super) fn gather<T: Element>(
        &self,
        operand: usize,
        data: &Data,
        first: usize,
        register: &mut [T],
    ) {
        with_element!(data.element_type(), U => {
            if let Some(data) = data.as_slice::<U>() {
                self.gather_from(operand, data, first, register);
            }
        });
    }

    fn gather_from<U: Element, T: Element>(
        &self,
        operand: usize,
        data: &[U],
        first: usize,
        register: &mut [T],
    ) {
        let strides = &self.strides[operand];
        let (Some(&row), Some(&stride)) = (self.shape.last(), strides.last()) else { return };
        let outer = self.shape.len() - 1;
        let (mut position, mut done) = (first, 0);
        while done < register.len() {
            let (index, column) = (position / row, position % row);
            let length = (row - column).min(register.len() - done);
            let start = crate::shape::offset(index, &self.shape[..outer], &strides[..outer])
                + column * stride;
            let target = &mut register[done..done + length];
            match stride {
                0 => target.fill(data[start].cast()),
                1 => cast_all(&data[start..start + length], target),
                _ => {
                    for (target, value) in
                        target.iter_mut().zip(data[start..].iter().step_by(stride))
                    {
                        *target = value.cast();
                    }
                }
            }
            position += length;
            done += length;
        }
    }
}

fn cast_all<U: Element, T: Element>(from: &[U], to: &mut [T]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = from.cast();
    }
}

/// Fills `register` with the elements from `start` on.
pub(super) fn convert<T: Element>(data: &Data, start: usize, register: &mut [T]) {
    with_element!(data.element_type(), U => {
        if let Some(data) = data.as_slice::<U>() {
            cast_all(&data[start..start + register.len()], register);
        }
    });
}

/// Writes `register` to the elements from `start` on.
pub(super) fn store<T: Element>(register: &[T], output: &mut DataMut, start: usize) {
    with_element!(output.element_type(), U => {
        if let Some(output) = output.as_slice::<U>() {
            cast_all(register, &mut output[start..start + register.len()]);
        }
    });
}
