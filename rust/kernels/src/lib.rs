//! flowrs-kernels
