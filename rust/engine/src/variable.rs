//! Variables: named memory that outlives a run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::aligned::AlignedBytes;
use crate::error::Error;
use crate::types::TensorType;

/// A variable's value, and how often it changed.
#[derive(Debug)]
pub struct Variable {
    name: String,
    ty: TensorType,
    storage: RwLock<AlignedBytes>,
    version: AtomicU64,
}

/// Shared access to a variable's bytes.
#[derive(Debug)]
pub struct ReadGuard<'a>(RwLockReadGuard<'a, AlignedBytes>);

impl ReadGuard<'_> {
    /// The elements' bytes, native-endian, in C order.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    pub(crate) fn pointer(&self) -> *mut u8 {
        self.0.pointer()
    }
}

/// Unique access to a variable's bytes.
#[derive(Debug)]
pub struct WriteGuard<'a>(RwLockWriteGuard<'a, AlignedBytes>);

impl WriteGuard<'_> {
    pub(crate) fn pointer(&self) -> *mut u8 {
        self.0.pointer()
    }
}

impl Variable {
    /// A variable that holds zeros.
    pub fn new(name: impl Into<String>, ty: TensorType) -> Result<Self, Error> {
        let name = name.into();
        let storage = RwLock::new(AlignedBytes::zeroed(ty.bytes(), &format!("variable {name}"))?);
        Ok(Self { name, ty, storage, version: AtomicU64::new(0) })
    }

    /// Full name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Element type and shape; they never change.
    pub fn ty(&self) -> &TensorType {
        &self.ty
    }

    /// How often the value was changed: derived copies are stale when it differs.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Shared access; waits for a run that updates the variable.
    pub fn read(&self) -> ReadGuard<'_> {
        ReadGuard(self.storage.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Unique access; counts as a change.
    pub(crate) fn write(&self) -> WriteGuard<'_> {
        self.version.fetch_add(1, Ordering::AcqRel);
        WriteGuard(self.storage.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the value.
    pub fn assign(&self, bytes: &[u8]) -> Result<(), Error> {
        assign(vec![(self, bytes)])
    }

    fn check(&self, bytes: &[u8]) -> Result<(), Error> {
        let (name, ty, wanted, found) = (&self.name, &self.ty, self.ty.bytes(), bytes.len());
        match wanted == found {
            true => Ok(()),
            false => Err(Error::Variable(format!(
                "variable {name} ({ty}) holds {wanted} bytes and cannot take {found}"
            ))),
        }
    }
}

/// Replaces the values of several variables in one step: no run sees some of the new values and some
/// of the old ones.
pub fn assign(mut values: Vec<(&Variable, &[u8])>) -> Result<(), Error> {
    for (variable, bytes) in &values {
        variable.check(bytes)?;
    }
    // Runs hold their variables in the order of the names too.
    values.sort_by_key(|(variable, _)| variable.name());
    if let Some(pair) = values.windows(2).find(|pair| pair[0].0.name() == pair[1].0.name()) {
        let name = pair[0].0.name();
        return Err(Error::Variable(format!("variable {name} is given two values")));
    }
    let held: Vec<WriteGuard<'_>> = values.iter().map(|(variable, _)| variable.write()).collect();
    for (mut guard, (_, bytes)) in held.into_iter().zip(values) {
        guard.0.as_mut_slice().copy_from_slice(bytes);
    }
    Ok(())
}
