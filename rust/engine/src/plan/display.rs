//! The plan as text: one line a step.

use std::fmt;

use super::{Place, Plan, PlannedStep, Slot, Stage};
use crate::types::dtype_name;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(number) => write!(f, "input{number}"),
            Self::Variable(number) => write!(f, "variable{number}"),
            Self::Constant(offset) => write!(f, "constant+{offset}"),
            Self::Arena(offset) => write!(f, "arena+{offset}"),
            Self::Output(number) => write!(f, "output{number}"),
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}x{}", self.place, dtype_name(self.dtype), self.elements)
    }
}

fn join(slots: &[Slot]) -> String {
    slots.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for PlannedStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (inputs, outputs) = (join(&self.slots.inputs), join(&self.slots.outputs));
        write!(f, "{:<36} {} ({inputs}) -> ({outputs})", self.name, self.description)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, variable) in self.variables.iter().enumerate() {
            let mark = if variable.updated { ", updated" } else { "" };
            writeln!(f, "variable{number}: {} {}{mark}", variable.name, variable.ty)?;
        }
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        for stage in &self.stages {
            let Stage::Together(first, group) = stage else { continue };
            let name = |step: &usize| self.steps[first + step].name.as_str();
            let lane = |lane: &Vec<usize>| lane.iter().map(name).collect::<Vec<_>>().join(", ");
            let lanes: Vec<String> = group.lanes.iter().map(lane).collect();
            writeln!(f, "side by side: {}", lanes.join(" | "))?;
        }
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        let ratio = self.arena_bytes as f64 / self.live_bytes.max(1) as f64;
        let (steps, arena, live) = (self.steps.len(), self.arena_bytes, self.live_bytes);
        writeln!(f, "{steps} steps, arena {arena} bytes: {ratio:.3} x the {live} alive at once")
    }
}
