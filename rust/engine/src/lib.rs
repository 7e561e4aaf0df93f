//! flowrs-engine
