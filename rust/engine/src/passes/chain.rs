//! Chains of elementwise operations in one pass over memory.

use std::sync::Arc;

use flowrs_kernels::elementwise::Instruction;

use super::Outcome;
use crate::graph::{Graph, NodeKind, ValueId};
use crate::ops::elementwise::{ElementwiseProgram, instructions_of};

/// Operands of a chain at most: more streams of memory are slower than two passes.
const OPERANDS: usize = 6;

/// `f(.., g(..), ..)` where both work element by element and nobody else reads what `g` gives.
pub(super) fn apply(graph: &mut Graph, index: usize, uses: &[usize]) -> Outcome {
    let node = &graph.nodes[index];
    let Some(outer) = instructions_of(node) else { return Outcome::NoMatch };
    let ty = graph.ty(node.outputs[0]);
    let mut needed = false;
    for &between in &node.inputs {
        let producer = graph.producer(between);
        let Some(inner) = instructions_of(producer).filter(|_| graph.ty(between) == ty) else {
            continue;
        };
        if uses[between.index()] != 1 {
            needed = true;
            continue;
        }
        let mut inputs = producer.inputs.clone();
        inputs.extend(node.inputs.iter().filter(|value| **value != between));
        inputs.sort_unstable();
        inputs.dedup();
        if inputs.len() > OPERANDS {
            continue;
        }
        let joined = join(&inputs, (&producer.inputs, &inner), (&node.inputs, &outer), between);
        let Some(op) = ElementwiseProgram::chain(inputs.len(), joined) else { continue };
        let node = &mut graph.nodes[index];
        node.kind = NodeKind::Op(Arc::new(op));
        node.inputs = inputs;
        return Outcome::Fused;
    }
    match needed {
        true => Outcome::Declined("the value between is needed elsewhere"),
        false => Outcome::NoMatch,
    }
}

/// The instructions of two operations, each with its operands, over the operands of both; the inner
/// one makes `between`.
fn join(
    operands: &[ValueId],
    inner: (&[ValueId], &[Instruction]),
    outer: (&[ValueId], &[Instruction]),
    between: ValueId,
) -> Vec<Instruction> {
    let place = |value: ValueId| operands.iter().position(|operand| *operand == value);
    let result = operands.len() + inner.1.len() - 1;
    let mut joined = vec![];
    for ((inputs, instructions), first) in [(inner, operands.len()), (outer, result + 1)] {
        let register = |register: u16| match inputs.get(usize::from(register)) {
            Some(value) => place(*value).unwrap_or(result),
            None => first + usize::from(register) - inputs.len(),
        };
        for &Instruction { operation, mut arguments } in instructions {
            for argument in &mut arguments[..operation.arity()] {
                *argument = register(*argument) as u16;
            }
            joined.push(Instruction { operation, arguments });
        }
    }
    debug_assert!(place(between).is_none());
    joined
}
