//! Variables: named memory that outlives a run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::aligned::AlignedBytes;
pub use crate::aligned::ForeignMemory;
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
    /// The elements' bytes, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.as_mut_slice()
    }

    /// Takes over memory of the same size as the variable's; where it is not aligned as the
    /// variable's must be, copies its bytes.
    pub fn adopt(&mut self, memory: Box<dyn ForeignMemory>) -> Result<(), Error> {
        let mut memory = memory;
        let (wanted, found) = (self.bytes_mut().len(), memory.bytes_mut().len());
        if wanted != found {
            return Err(Error::Variable(format!(
                "a variable of {wanted} bytes cannot take over {found}"
            )));
        }
        match AlignedBytes::foreign(memory) {
            Ok(bytes) => *self.0 = bytes,
            Err(mut memory) => self.bytes_mut().copy_from_slice(memory.bytes_mut()),
        }
        Ok(())
    }

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
pub fn assign(values: Vec<(&Variable, &[u8])>) -> Result<(), Error> {
    for (variable, bytes) in &values {
        variable.check(bytes)?;
    }
    let (variables, bytes): (Vec<_>, Vec<_>) = values.into_iter().unzip();
    change(&variables, |held| {
        for (guard, bytes) in held.iter_mut().zip(bytes) {
            guard.bytes_mut().copy_from_slice(bytes);
        }
    })
}

/// Changes several variables in one step, in which they are held together. The guards are in the
/// order of the variables.
pub fn change<T>(
    variables: &[&Variable],
    work: impl FnOnce(&mut [WriteGuard<'_>]) -> T,
) -> Result<T, Error> {
    let mut order: Vec<usize> = (0..variables.len()).collect();
    // Runs hold their variables in the order of the names too.
    order.sort_by_key(|&index| variables[index].name());
    let name_of = |index: usize| variables[index].name();
    if let Some(pair) = order.windows(2).find(|pair| name_of(pair[0]) == name_of(pair[1])) {
        let name = name_of(pair[0]);
        return Err(Error::Variable(format!("variable {name} is given two values")));
    }
    let mut held: Vec<(usize, WriteGuard<'_>)> =
        order.into_iter().map(|index| (index, variables[index].write())).collect();
    held.sort_by_key(|(index, _)| *index);
    let mut guards: Vec<WriteGuard<'_>> = held.into_iter().map(|(_, guard)| guard).collect();
    Ok(work(&mut guards))
}

#[cfg(test)]
mod tests {
    use super::{ForeignMemory, Variable, change};
    use crate::types::{DType, TensorType};

    struct Bytes(Vec<u8>);

    // SAFETY: the vector is never resized, so that its bytes stay where they are.
    unsafe impl ForeignMemory for Bytes {
        fn bytes_mut(&mut self) -> &mut [u8] {
            &mut self.0
        }
    }

    fn variable(name: &str) -> Variable {
        Variable::new(name, TensorType::new(DType::U8, vec![3])).expect("three bytes")
    }

    #[test]
    fn memory_of_any_alignment_is_taken_over_or_copied() {
        let found = variable("found");
        // Somewhere among these, aligned and not.
        for _ in 0..64 {
            let memory = Box::new(Bytes(vec![1, 2, 3]));
            change(&[&found], |held| held[0].adopt(memory)).expect("one value").expect("it fits");
            assert_eq!(found.read().bytes(), [1, 2, 3]);
            change(&[&found], |held| held[0].bytes_mut()[0] = 9).expect("one value");
            assert_eq!(found.read().bytes(), [9, 2, 3]);
        }
        let large = Box::new(Bytes(vec![0; 4]));
        assert!(change(&[&found], |held| held[0].adopt(large)).expect("one value").is_err());
    }

    #[test]
    fn guards_are_in_the_order_of_the_variables() {
        let (a, b) = (variable("a"), variable("b"));
        change(&[&b, &a], |held| {
            held[0].bytes_mut()[0] = 2;
            held[1].bytes_mut()[0] = 1;
        })
        .expect("two variables");
        assert_eq!((a.read().bytes()[0], b.read().bytes()[0]), (1, 2));
        assert!(change(&[&a, &a], |_| ()).is_err());
    }
}
