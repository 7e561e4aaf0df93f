//! flowrs-python
