//! Random numbers from a counter: the same for any number of threads, and again after a resume.
//!
//! Element `i` of a run follows from the seed, the operation's name, the run's count and `i` alone
//! (Philox 4x32-10).

use flowrs_kernels::random::uniform_f32;
use flowrs_kernels::{Isa, Serial, for_each_chunk};

use super::attributes::Attributes;
use super::{Lowering, Op, expect_inputs};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::{Kernel, Step};
use crate::types::{DType, TensorType};

/// Elements that are drawn by one task, and those that are drawn at a time.
const TASK: usize = 16 * 1024;
const BLOCK: usize = 1024;

/// Which sequence numbers are taken from, and how many.
#[derive(Clone, Debug)]
struct Sequence {
    key: [u32; 2],
    shape: Vec<usize>,
}

impl Sequence {
    /// Reads `seed`, `name_hash` and `shape`.
    fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        let seed = attributes.int("seed")?;
        let seed = (seed as u32) ^ ((seed >> 32) as u32);
        let key = [seed, attributes.int("name_hash")? as u32];
        Ok(Self { key, shape: attributes.sizes("shape")? })
    }

    fn infer(&self, inputs: &[&TensorType], dtype: DType) -> Result<Vec<TensorType>, Error> {
        let [count] = expect_inputs(inputs)?;
        match count == TensorType::new(DType::I64, [1]) {
            true => Ok(vec![TensorType::new(dtype, self.shape.clone())]),
            false => Err(Error::Shape(format!("the count must be int64 of [1], not {count}"))),
        }
    }

    fn stream(step: &Step<'_>) -> u64 {
        step.input::<i64>(0)[0] as u64
    }
}

/// Numbers uniform in `[0, 1)`, float32, from the run's count.
#[derive(Clone, Debug)]
pub struct RandomUniform(Sequence);

/// int8: 1 with probability `1 - rate`, else 0, from the run's count.
#[derive(Clone, Debug)]
pub struct RandomMask {
    sequence: Sequence,
    rate: f32,
}

impl RandomUniform {
    /// Reads `seed`, `name_hash` and `shape`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self(Sequence::from_attributes(attributes)?))
    }
}

impl RandomMask {
    /// Reads `seed`, `name_hash`, `shape` and `rate`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        let sequence = Sequence::from_attributes(attributes)?;
        Ok(Self { sequence, rate: attributes.float("rate")? as f32 })
    }
}

fn mask(isa: Isa, key: [u32; 2], stream: u64, rate: f32, start: usize, output: &mut [i8]) {
    let mut drawn = [0.0; BLOCK];
    for (index, block) in output.chunks_mut(BLOCK).enumerate() {
        let drawn = &mut drawn[..block.len()];
        uniform_f32(isa, &Serial, key, stream, (start + index * BLOCK) as u64, drawn);
        for (kept, drawn) in block.iter_mut().zip(drawn) {
            *kept = i8::from(*drawn > rate);
        }
    }
}

impl Op for RandomUniform {
    fn name(&self) -> &'static str {
        "random_uniform"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        self.0.infer(inputs, DType::F32)
    }

    fn gradient(
        &self,
        _g: &mut Builder,
        _node: &Node,
        _dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        Ok(vec![None])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let (isa, key) = (lowering.settings.isa, self.0.key);
        Ok(Box::new(move |step| {
            let output = step.output::<f32>(0);
            uniform_f32(isa, step.parallel(), key, Sequence::stream(step), 0, output);
            Ok(())
        }))
    }
}

impl Op for RandomMask {
    fn name(&self) -> &'static str {
        "random_mask"
    }

    fn attributes(&self) -> String {
        format!("rate={}", self.rate)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        self.sequence.infer(inputs, DType::I8)
    }

    fn gradient(
        &self,
        _g: &mut Builder,
        _node: &Node,
        _dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        Ok(vec![None])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let (isa, key, rate) = (lowering.settings.isa, self.sequence.key, self.rate);
        Ok(Box::new(move |step| {
            let stream = Sequence::stream(step);
            for_each_chunk(step.parallel(), step.output::<i8>(0), TASK, &|index, chunk| {
                mask(isa, key, stream, rate, index * TASK, chunk);
            });
            Ok(())
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_does_not_depend_on_how_it_is_cut() {
        let (isa, key) = (Isa::detect(), [1, 2]);
        let mut whole = vec![0; 3 * BLOCK + 5];
        mask(isa, key, 9, 0.5, 0, &mut whole);
        let mut tail = vec![0; BLOCK + 5];
        mask(isa, key, 9, 0.5, 2 * BLOCK, &mut tail);
        assert_eq!(whole[2 * BLOCK..], tail);
        let kept = whole.iter().filter(|kept| **kept == 1).count();
        assert!(kept.abs_diff(whole.len() / 2) < 150, "{kept} of {} are kept", whole.len());
    }
}
