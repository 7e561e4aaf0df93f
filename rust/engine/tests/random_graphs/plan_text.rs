//! Plans taken apart from their text, which is all that is public of their layout.

use std::ops::Range;

/// Where a step reads or writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// `arena`, `constant`, or the number of an input, output or variable with its kind.
    pub(crate) place: String,
    /// The bytes, from the beginning of the place.
    pub(crate) bytes: Range<usize>,
}

/// One step of a plan.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) is_fetch: bool,
    pub(crate) inputs: Vec<Slot>,
    pub(crate) outputs: Vec<Slot>,
}

fn slot(text: &str) -> Slot {
    let (place, ty) = text.split_once(':').expect("place:type");
    let (dtype, elements) = ty.rsplit_once('x').expect("dtype x elements");
    let size = match dtype {
        "float64" | "int64" => 8,
        "float32" | "int32" => 4,
        "int8" | "uint8" => 1,
        other => panic!("what is {other}?"),
    };
    let (place, offset) = match place.split_once('+') {
        Some((place, offset)) => (place, offset.parse().expect("an offset")),
        None => (place, 0),
    };
    let length: usize = elements.parse().expect("a number of elements");
    Slot { place: place.to_owned(), bytes: offset..offset + length * size }
}

fn slots(text: &str) -> Vec<Slot> {
    let inner = text.trim_start_matches('(').trim_end_matches(')');
    inner.split(", ").filter(|part| !part.is_empty()).map(slot).collect()
}

/// The steps of a plan, from its text. Names must be without spaces.
pub(crate) fn steps(plan: &str) -> Vec<Step> {
    let step = |line: &str| {
        let (head, outputs) = line.rsplit_once(" -> ")?;
        let (head, inputs) = head.rsplit_once(" (")?;
        let (name, description) = head.split_once(' ')?;
        Some(Step {
            name: name.to_owned(),
            is_fetch: description.trim() == "fetch",
            inputs: slots(inputs),
            outputs: slots(outputs),
        })
    };
    plan.lines().filter_map(step).collect()
}
