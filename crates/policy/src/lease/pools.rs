//! The pools of a process, where several workers change them at the same time.

use super::{LeaseId, Pool, Short};

/// Where pools are kept: by limit, each with a version for compare-and-swap.
pub trait Pools {
    /// Changes with every write.
    type Version;

    /// The pool of a limit. `None`: the limit has none.
    fn read(&self, limit_id: &str) -> Option<(Pool, Self::Version)>;

    /// Writes a pool, if nobody has written since `version` was read.
    fn swap(&self, limit_id: &str, pool: Pool, version: Self::Version) -> bool;
}

/// A limit, as a pool is opened for it.
#[derive(Debug, Clone, Copy)]
pub struct Of<'a> {
    /// The limit.
    pub limit_id: &'a str,
    /// The lease of now.
    pub lease: LeaseId,
    /// What may be used of it unasked.
    pub standing: i64,
    /// Workers take exactly what they need.
    pub exactly: bool,
}

/// The pool as it stands. `None`: there is none.
pub fn look(pools: &impl Pools, of: Of<'_>) -> Option<Pool> {
    let (pool, _) = pools.read(of.limit_id)?;
    Some(pool.at(of.lease, of.standing))
}

/// Changes a pool, however many others do. `None`: there is none.
pub fn change(pools: &impl Pools, limit_id: &str, to: impl Fn(Pool) -> Pool) -> Option<Pool> {
    loop {
        let (before, version) = pools.read(limit_id)?;
        let after = to(before);
        if after == before || pools.swap(limit_id, after, version) {
            return Some(after);
        }
    }
}

/// A worker takes a block that covers `amount`. `None`: there is no pool.
pub(super) fn take(
    pools: &impl Pools,
    of: Of<'_>,
    amount: i64,
) -> Option<Result<(Pool, i64), (Pool, Short)>> {
    loop {
        let (pool, version) = pools.read(of.limit_id)?;
        let pool = pool.at(of.lease, of.standing);
        let taken = if of.exactly {
            pool.take_exactly(amount)
        } else {
            pool.take(amount)
        };
        match taken {
            Err(short) => return Some(Err((pool, short))),
            Ok((after, size)) => {
                if pools.swap(of.limit_id, after, version) {
                    return Some(Ok((after, size)));
                }
            }
        }
    }
}

/// Others need what is not used here: workers are to keep nothing, and what is free is returned, of
/// which the control plane is to be told. `None`: there is no pool.
pub fn recall(pools: &impl Pools, of: Of<'_>) -> Option<Pool> {
    change(pools, of.limit_id, |pool| {
        let pool = pool.at(of.lease, of.standing);
        if pool.id == of.lease {
            pool.recall()
        } else {
            pool
        }
    })
}
