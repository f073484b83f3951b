//! The partitions of one producer or consumer. More come when the topic grows.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::task::AbortHandle;

/// The partitions of a producer or a consumer, in the order of their numbers, and the tasks behind
/// them. Shared by its owner and by the task that adds to it.
#[derive(Debug)]
pub(crate) struct Partitions<T> {
    listed: RwLock<Listed<T>>,
}

#[derive(Debug)]
pub(crate) struct Listed<T> {
    list: Vec<Arc<T>>,
    tasks: Vec<AbortHandle>,
    /// Nothing is added any more.
    ended: bool,
}

impl<T> std::ops::Deref for Listed<T> {
    type Target = [Arc<T>];

    fn deref(&self) -> &[Arc<T>] {
        &self.list
    }
}

impl<T> Default for Partitions<T> {
    fn default() -> Self {
        Self {
            listed: RwLock::new(Listed {
                list: Vec::new(),
                tasks: Vec::new(),
                ended: false,
            }),
        }
    }
}

impl<T> Partitions<T> {
    /// The partitions that there are now. Never held over a wait.
    pub(crate) fn now(&self) -> RwLockReadGuard<'_, Listed<T>> {
        self.listed.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Listed<T>> {
        self.listed.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, to be kept.
    pub(crate) fn all(&self) -> Vec<Arc<T>> {
        self.now().list.clone()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.now().len()
    }

    /// Adds the next one with its task. False, and the task is ended, when the owner is gone.
    pub(crate) fn add(&self, partition: Arc<T>, task: AbortHandle) -> bool {
        let mut listed = self.change();
        if listed.ended {
            task.abort();
            return false;
        }
        listed.list.push(partition);
        listed.tasks.push(task);
        true
    }

    /// Ends a task with the owner.
    pub(crate) fn add_task(&self, task: AbortHandle) {
        let mut listed = self.change();
        if listed.ended {
            task.abort();
        } else {
            listed.tasks.push(task);
        }
    }

    /// Adds nothing any more. Gives what there is.
    pub(crate) fn end(&self) -> Vec<Arc<T>> {
        let mut listed = self.change();
        listed.ended = true;
        listed.list.clone()
    }

    /// Ends every task and adds nothing any more. Gives what there is.
    pub(crate) fn abort(&self) -> Vec<Arc<T>> {
        let mut listed = self.change();
        listed.ended = true;
        for task in listed.tasks.drain(..) {
            task.abort();
        }
        listed.list.clone()
    }
}
