//! What a training step costs besides its arithmetic: memory that it asks the system for.

mod models;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use flowrs_engine::run::{Input, Output};
use flowrs_engine::settings::{Precision, SideBySide};
use flowrs_engine::threads::Pool;
use flowrs_engine::{Executable, Graph, Plan, Settings, Variable};
use flowrs_kernels::Isa;
use flowrs_kernels::convolution::Algorithm;

/// The system's allocator, which counts what all threads ask for.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn settings(isa: Isa, convolution: &'static [Algorithm]) -> Settings {
    Settings {
        isa,
        fuse: true,
        convolution,
        precision: Precision::Default,
        side_by_side: SideBySide::default(),
    }
}

/// How often a step asks for memory at least, of many: a thread asks once for what it keeps, the first
/// time that it takes part in such work.
fn allocations(graph: &Graph, settings: Settings) -> usize {
    let executable = Executable::new(Plan::new(graph, settings).expect("a plan")).expect("memory");
    let plan = executable.plan();
    let variables: Vec<Variable> = plan
        .variables()
        .iter()
        .map(|planned| Variable::new(planned.name.clone(), planned.ty.clone()).expect("memory"))
        .collect();
    let variables: Vec<&Variable> = variables.iter().collect();
    let given: Vec<Vec<u8>> = plan.inputs().iter().map(|ty| vec![0; ty.bytes()]).collect();
    let mut results: Vec<Vec<u8>> = plan.outputs().iter().map(|ty| vec![0; ty.bytes()]).collect();
    let inputs: Vec<Input<'_>> = plan
        .inputs()
        .iter()
        .zip(&given)
        .map(|(ty, bytes)| Input { dtype: ty.dtype, bytes })
        .collect();
    let mut outputs: Vec<Output<'_>> = plan
        .outputs()
        .iter()
        .zip(&mut results)
        .map(|(ty, bytes)| Output { dtype: ty.dtype, bytes })
        .collect();
    let pool = Pool::new(2);
    let mut step = || {
        let before = ALLOCATIONS.load(Ordering::SeqCst);
        executable.run(&inputs, &variables, &mut outputs, &pool).expect("all labels are classes");
        ALLOCATIONS.load(Ordering::SeqCst) - before
    };
    (0..STEPS).map(|_| step()).min().unwrap_or(0)
}

/// Steps of which the one that asks for least counts.
const STEPS: usize = 10;

/// Tasks of a convolution's pass at most.
const TASKS: usize = 16;

#[test]
fn a_step_asks_for_no_memory() {
    let isa = Isa::detect();
    // A matrix product whose left operand is transposed has it copied; the direct gradient to the
    // weight of a convolution (that of the first one always) lists in each task its rows of pixels.
    let cases = [
        ("mlp", models::mlp(), [].as_slice(), 1),
        ("lenet", models::lenet(false), &[], 1 + TASKS),
        ("lenet with momentum", models::lenet(true), &[], 1 + TASKS),
        ("lenet, direct", models::lenet(true), &[Algorithm::Direct], 1 + 2 * TASKS),
    ];
    for (name, graph, algorithm, allowed) in cases {
        let found = allocations(&graph, settings(isa, algorithm));
        assert!(found <= allowed, "{name}: memory was asked for {found} times");
    }
}
