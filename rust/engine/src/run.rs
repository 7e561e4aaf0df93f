//! Running a plan.

use std::sync::{Mutex, PoisonError};

use flowrs_kernels::{Parallel, Serial};

use crate::aligned::AlignedBytes;
use crate::error::Error;
use crate::lanes::Progress;
use crate::plan::{Place, Plan, Stage};
use crate::step::{Buffer, Step};
use crate::types::{DType, TensorType};
use crate::variable::{ReadGuard, Variable, WriteGuard};

/// The caller's array that a run reads.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Element type.
    pub dtype: DType,
    /// The elements' bytes, native-endian, in C order, aligned for the type.
    pub bytes: &'a [u8],
}

/// The caller's array that a run writes.
#[derive(Debug)]
pub struct Output<'a> {
    /// Element type.
    pub dtype: DType,
    /// Room for the elements, aligned for the type.
    pub bytes: &'a mut [u8],
}

/// A plan with its memory. Runs take turns.
#[derive(Debug)]
pub struct Executable {
    plan: Plan,
    workspace: Mutex<Workspace>,
}

/// The arena, and the steps' memory with everything filled in that does not change between runs.
#[derive(Debug)]
struct Workspace {
    /// Owns the memory that arena places point into.
    _arena: AlignedBytes,
    buffers: Buffers,
    /// One for each stage of steps side by side.
    progress: Vec<Progress>,
    patches: Vec<(usize, Place)>,
    /// Empty between runs: the memory for the variables that a run holds.
    held: Vec<Held<'static>>,
}

// SAFETY: the raw pointers point into `_arena`, which the workspace owns, into the plan's
// constants, which live as long, or are overwritten at the start of each run. `held` is empty.
unsafe impl Send for Workspace {}

/// The memory of all steps: inputs, outputs and working memory, step by step.
#[derive(Debug)]
struct Buffers {
    all: Vec<Buffer>,
    /// Where each step's begin.
    starts: Vec<usize>,
}

// SAFETY: the steps that threads share read these; `patch` has them for itself.
unsafe impl Sync for Buffers {}

/// A variable held for a run.
#[derive(Debug)]
enum Held<'a> {
    Read(ReadGuard<'a>),
    Write(WriteGuard<'a>),
}

impl Held<'_> {
    fn pointer(&self) -> *mut u8 {
        match self {
            Self::Read(guard) => guard.pointer(),
            Self::Write(guard) => guard.pointer(),
        }
    }
}

impl Executable {
    /// Gives a plan its memory.
    pub fn new(plan: Plan) -> Result<Self, Error> {
        let workspace = Mutex::new(Workspace::new(&plan)?);
        Ok(Self { plan, workspace })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Runs the plan once: reads `inputs`, updates `variables`, writes `outputs`. All are in the
    /// plan's order. A run that fails has changed no variable.
    pub fn run<'a>(
        &self,
        inputs: &[Input<'_>],
        variables: &[&'a Variable],
        outputs: &mut [Output<'_>],
        parallel: &dyn Parallel,
    ) -> Result<(), Error> {
        self.check(inputs, variables, outputs)?;
        let mut workspace = self.workspace.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held: Vec<Held<'a>> = std::mem::take(&mut workspace.held);
        let planned = self.plan.variables.iter();
        held.extend(planned.zip(variables).map(|(planned, variable)| match planned.updated {
            true => Held::Write(variable.write()),
            false => Held::Read(variable.read()),
        }));
        workspace.patch(inputs, &held, outputs);
        let outcome = self.run_stages(&mut workspace, parallel);
        held.clear();
        // There is nothing in it, and so nothing that is borrowed: its memory is kept.
        workspace.held = held.into_iter().map(|_| unreachable!("it was cleared")).collect();
        outcome
    }

    fn run_stages(&self, workspace: &mut Workspace, parallel: &dyn Parallel) -> Result<(), Error> {
        let Workspace { buffers, progress, .. } = workspace;
        let buffers = &*buffers;
        let mut progress = progress.iter_mut();
        for stage in &self.plan.stages {
            match stage {
                Stage::InTurn(steps) => {
                    for step in steps.clone() {
                        self.run_step(step, buffers, parallel)?;
                    }
                }
                Stage::Together(first, group) => {
                    let step = |number| self.run_step(first + number, buffers, &Serial);
                    progress.next().map_or(Ok(()), |p| p.run(group, parallel, &step))?;
                }
            }
        }
        Ok(())
    }

    fn run_step(
        &self,
        number: usize,
        buffers: &Buffers,
        parallel: &dyn Parallel,
    ) -> Result<(), Error> {
        let step = &self.plan.steps[number];
        let slots = &step.slots;
        let buffers = &buffers.all[buffers.starts[number]..];
        let (ins, buffers) = buffers.split_at(slots.inputs.len());
        let (outs, buffers) = buffers.split_at(slots.outputs.len());
        let scratch = slots.scratch.map_or(Buffer::EMPTY, |_| buffers[0]);
        // SAFETY: the buffers were resolved from the plan, whose placement lets outputs overlap
        // nothing that the step reads (an input that the output takes over is read through the
        // output) and gives each value the elements of its type. Of steps side by side, `Group::needs`
        // keeps apart those of which one writes what the other uses. The caller's arrays are
        // borrowed for this call, `check` compared their sizes, types and alignment with the
        // plan; variables are held, written ones exclusively; the arena is locked.
        let context = unsafe { Step::new(ins, outs, scratch, slots.updates, parallel) };
        (step.kernel)(&context).map_err(|error| error.within(&step.name))
    }

    fn check(
        &self,
        inputs: &[Input<'_>],
        variables: &[&Variable],
        outputs: &[Output<'_>],
    ) -> Result<(), Error> {
        let plan = &self.plan;
        let counts = [
            ("inputs", plan.inputs.len(), inputs.len()),
            ("variables", plan.variables.len(), variables.len()),
            ("outputs", plan.outputs.len(), outputs.len()),
        ];
        for (what, wanted, found) in counts {
            if wanted != found {
                return Err(Error::Argument(format!(
                    "the plan takes {wanted} {what}, not {found}"
                )));
            }
        }
        for (number, (ty, input)) in plan.inputs.iter().zip(inputs).enumerate() {
            check_array(("input", number), ty, input.dtype, input.bytes)?;
        }
        for (number, (ty, output)) in plan.outputs.iter().zip(outputs).enumerate() {
            check_array(("output", number), ty, output.dtype, output.bytes)?;
        }
        for (planned, variable) in plan.variables.iter().zip(variables) {
            if planned.name != variable.name() || planned.ty != *variable.ty() {
                let (name, ty) = (&planned.name, &planned.ty);
                let (found, found_ty) = (variable.name(), variable.ty());
                return Err(Error::Variable(format!(
                    "the plan needs variable {name} ({ty}), not {found} ({found_ty})"
                )));
            }
        }
        Ok(())
    }
}

fn check_array(
    (what, number): (&str, usize),
    ty: &TensorType,
    dtype: DType,
    bytes: &[u8],
) -> Result<(), Error> {
    if dtype != ty.dtype || bytes.len() != ty.bytes() {
        let (wanted, found) = (ty.bytes(), bytes.len());
        return Err(Error::Argument(format!(
            "{what} {number} must be {ty} ({wanted} bytes); found {} bytes of {}",
            found,
            crate::types::dtype_name(dtype)
        )));
    }
    match bytes.is_empty() || bytes.as_ptr().addr().is_multiple_of(dtype.size()) {
        true => Ok(()),
        false => Err(Error::Argument(format!("{what} {number} is not aligned for its type"))),
    }
}

impl Workspace {
    fn new(plan: &Plan) -> Result<Self, Error> {
        let arena = AlignedBytes::zeroed(plan.arena_bytes, "the intermediate values of a job")?;
        let (mut all, mut starts, mut patches) = (vec![], vec![], vec![]);
        for step in &plan.steps {
            starts.push(all.len());
            for slot in step.slots.used() {
                let (elements, dtype) = (slot.elements, slot.dtype);
                let mut buffer = Buffer { elements, dtype, ..Buffer::EMPTY };
                match slot.place {
                    Place::Arena(offset) => buffer.pointer = arena.pointer().wrapping_add(offset),
                    Place::Constant(offset) => {
                        buffer.pointer = plan.constants.pointer().wrapping_add(offset);
                    }
                    place => patches.push((all.len(), place)),
                }
                all.push(buffer);
            }
        }
        let progress = plan.stages.iter().filter_map(|stage| match stage {
            Stage::InTurn(_) => None,
            Stage::Together(_, group) => Some(Progress::new(group)),
        });
        let (buffers, progress) = (Buffers { all, starts }, progress.collect());
        Ok(Self { _arena: arena, buffers, progress, patches, held: vec![] })
    }

    /// Fills in the memory that is the caller's or a variable's in this run.
    fn patch(&mut self, inputs: &[Input<'_>], held: &[Held<'_>], outputs: &mut [Output<'_>]) {
        for &(index, place) in &self.patches {
            self.buffers.all[index].pointer = match place {
                Place::Input(number) => inputs[number].bytes.as_ptr().cast_mut(),
                Place::Variable(number) => held[number].pointer(),
                Place::Output(number) => outputs[number].bytes.as_mut_ptr(),
                Place::Arena(_) | Place::Constant(_) => continue,
            };
        }
    }
}
