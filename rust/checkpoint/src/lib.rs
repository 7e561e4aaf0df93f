//! flowrs-checkpoint
