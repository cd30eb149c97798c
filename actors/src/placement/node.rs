//! One pool of resources, a node's or a bundle's, with numbered devices.
//!
//! Owns: exact allocation within the pool, and which devices a task gets. Does not own: which pool to ask.
//! Invariants: free and allocated make up the total, for each resource and each device; a device is never given twice.

use std::collections::BTreeMap;

use actinic_gcs::{resources::GPU, Quantity, ResourceSet};
use serde::{Deserialize, Serialize};

use super::explain::{Infeasible, Refusal};

/// One device of a resource that comes in devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its number on its node.
    pub index: u32,
    /// How much of it the pool has: one, or a fraction in a bundle that asked for a fraction.
    pub capacity: Quantity,
    /// How much of that is free.
    pub free: Quantity,
}

/// A part of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceShare {
    /// The device's number on its node.
    pub index: u32,
    /// How much of it.
    pub share: Quantity,
}

/// What was taken out of a pool. Give it back with [`NodeResources::release`], once.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "what is not released stays taken"]
pub struct Allocation {
    demand: ResourceSet,
    devices: BTreeMap<String, Vec<DeviceShare>>,
}

impl Allocation {
    /// What was asked for and taken.
    #[must_use]
    pub fn demand(&self) -> &ResourceSet {
        &self.demand
    }

    /// The devices taken of `resource`, lowest number first: what goes into `CUDA_VISIBLE_DEVICES` and its like.
    #[must_use]
    pub fn devices(&self, resource: &str) -> &[DeviceShare] {
        self.devices.get(resource).map_or(&[], Vec::as_slice)
    }
}

/// A pool of resources.
///
/// A *fraction* of a device (less than one) goes to the device with the least room that suffices, so that whole devices
/// stay whole; the lower number wins a tie. A *whole* number goes to that many empty devices, lowest numbers first.
///
/// ```
/// # use actinic_gcs::{resources::{CPU, GPU}, ResourceSet};
/// # use actinic_actors::placement::NodeResources;
/// let mut node = NodeResources::new(ResourceSet::new().with(CPU, 8.0).with(GPU, 2.0));
/// let half = node.try_allocate(&ResourceSet::new().with(CPU, 1.0).with(GPU, 0.5))?;
/// let whole = node.try_allocate(&ResourceSet::new().with(GPU, 1.0))?;
/// assert_eq!((half.devices(GPU)[0].index, whole.devices(GPU)[0].index), (0, 1));
/// node.release(half);
/// node.release(whole);
/// assert_eq!(node.free(), node.total());
/// # Ok::<_, actinic_actors::placement::Refusal>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeResources {
    total: ResourceSet,
    free: ResourceSet,
    devices: BTreeMap<String, Vec<Device>>,
}

impl NodeResources {
    /// The most devices of one resource that are told apart; a larger total is treated as a plain number.
    pub const DEVICES_MAX: u64 = 4_096;

    /// An empty node whose `GPU`s are devices.
    #[must_use]
    pub fn new(total: ResourceSet) -> Self {
        Self::with_devices(total, &[GPU])
    }

    /// An empty node on which each of `names` comes in devices, numbered from 0. A fraction left over in the total is a
    /// last, smaller device.
    #[must_use]
    pub fn with_devices(total: ResourceSet, names: &[&str]) -> Self {
        let mut devices = BTreeMap::new();
        for name in names {
            let units = total.of(name).0.div_ceil(Quantity::UNIT);
            if units == 0 || units > Self::DEVICES_MAX {
                continue;
            }
            let device = |index: u64| {
                let capacity = Quantity((total.of(name).0 - index * Quantity::UNIT).min(Quantity::UNIT));
                Device { index: index as u32, capacity, free: capacity }
            };
            devices.insert((*name).to_owned(), (0..units).map(device).collect());
        }
        Self { free: total.clone(), total, devices }
    }

    /// The pool of a bundle that was reserved by `allocation`: the same devices, to be shared out again.
    #[must_use]
    pub fn of_allocation(allocation: &Allocation) -> Self {
        let device = |share: &DeviceShare| Device { index: share.index, capacity: share.share, free: share.share };
        let devices = allocation.devices.iter();
        let devices = devices.map(|(name, shares)| (name.clone(), shares.iter().map(device).collect())).collect();
        Self { total: allocation.demand.clone(), free: allocation.demand.clone(), devices }
    }

    /// All there is.
    #[must_use]
    pub fn total(&self) -> &ResourceSet {
        &self.total
    }

    /// What is not taken.
    #[must_use]
    pub fn free(&self) -> &ResourceSet {
        &self.free
    }

    /// The devices of `resource`; none if it does not come in devices.
    #[must_use]
    pub fn devices(&self, resource: &str) -> &[Device] {
        self.devices.get(resource).map_or(&[], Vec::as_slice)
    }

    /// This pool with nothing taken.
    #[must_use]
    pub fn emptied(&self) -> Self {
        let mut empty = self.clone();
        empty.free = empty.total.clone();
        empty.devices.values_mut().flatten().for_each(|device| device.free = device.capacity);
        empty
    }

    /// Takes `demand`.
    ///
    /// # Errors
    /// [`Refusal::Busy`] if others hold too much of it now, [`Refusal::Infeasible`] if it can never be met.
    pub fn try_allocate(&mut self, demand: &ResourceSet) -> Result<Allocation, Refusal> {
        let devices = self.choose(demand)?;
        if self.free.take(demand).is_err() {
            return Err(self.refusal(demand));
        }
        for (name, shares) in &devices {
            for device in self.devices.get_mut(name).into_iter().flatten() {
                if let Some(taken) = shares.iter().find(|taken| taken.index == device.index) {
                    device.free.0 -= taken.share.0;
                }
            }
        }
        Ok(Allocation { demand: demand.clone(), devices })
    }

    /// Whether `demand` could be taken now.
    #[must_use]
    pub fn fits(&self, demand: &ResourceSet) -> bool {
        self.free.covers(demand) && self.choose(demand).is_ok()
    }

    /// Gives back what was taken.
    ///
    /// # Panics
    /// If it was not taken from this pool.
    pub fn release(&mut self, allocation: Allocation) {
        self.free.add(&allocation.demand);
        assert!(self.total.covers(&self.free), "more was released than was taken");
        for (name, shares) in &allocation.devices {
            for taken in shares {
                let device =
                    self.devices.get_mut(name).into_iter().flatten().find(|device| device.index == taken.index);
                let device = device.expect("a device was released that is not of this pool");
                device.free.0 += taken.share.0;
                assert!(device.free <= device.capacity, "more of a device was released than was taken");
            }
        }
    }

    /// Whether `demand` could be met if nothing were taken.
    ///
    /// # Errors
    /// Which resource falls short and by how much.
    pub fn can_ever_fit(&self, demand: &ResourceSet) -> Result<(), Infeasible> {
        for (name, asked) in demand.iter() {
            let total = match self.devices.get(name) {
                None => self.total.of(name),
                Some(_) if !is_divisible(asked) => {
                    return Err(Infeasible::NotWhole { resource: name.to_owned(), asked });
                }
                Some(devices) if asked < Quantity::ONE => {
                    devices.iter().map(|device| device.capacity).max().unwrap_or_default()
                }
                Some(devices) => {
                    Quantity(devices.iter().filter(|d| d.capacity == Quantity::ONE).count() as u64 * Quantity::UNIT)
                }
            };
            if total < asked {
                return Err(Infeasible::Total { resource: name.to_owned(), asked, total });
            }
        }
        Ok(())
    }

    /// Why `demand` does not fit now.
    pub(super) fn refusal(&self, demand: &ResourceSet) -> Refusal {
        if let Err(never) = self.can_ever_fit(demand) {
            return Refusal::Infeasible(never);
        }
        let short =
            demand.iter().find(|(name, asked)| self.free.of(name) < *asked || self.pick(name, *asked).is_none());
        let (name, asked) = short.unwrap_or_default();
        Refusal::Busy { resource: name.to_owned(), asked, free: self.free.of(name) }
    }

    fn choose(&self, demand: &ResourceSet) -> Result<BTreeMap<String, Vec<DeviceShare>>, Refusal> {
        let mut chosen = BTreeMap::new();
        for name in self.devices.keys() {
            let asked = demand.of(name);
            if asked.is_zero() {
                continue;
            }
            let Some(shares) = self.pick(name, asked) else {
                return Err(self.refusal(demand));
            };
            chosen.insert(name.clone(), shares);
        }
        Ok(chosen)
    }

    /// The devices for `asked` of a resource; none at all if it does not come in devices, `None` if too few are free.
    fn pick(&self, name: &str, asked: Quantity) -> Option<Vec<DeviceShare>> {
        let Some(devices) = self.devices.get(name) else {
            return Some(Vec::new());
        };
        if asked < Quantity::ONE {
            let roomy = devices.iter().filter(|device| device.free >= asked);
            let best = roomy.min_by_key(|device| (device.free, device.index))?;
            return Some(vec![DeviceShare { index: best.index, share: asked }]);
        }
        if !is_divisible(asked) {
            return None;
        }
        let wanted = (asked.0 / Quantity::UNIT) as usize;
        let empty = devices.iter().filter(|device| device.free == Quantity::ONE).take(wanted);
        let shares: Vec<_> = empty.map(|device| DeviceShare { index: device.index, share: Quantity::ONE }).collect();
        (shares.len() == wanted).then_some(shares)
    }

    /// Asserts that devices and sums agree.
    ///
    /// # Panics
    /// If they do not.
    pub fn sanity_check(&self) {
        assert!(self.total.covers(&self.free));
        for (name, devices) in &self.devices {
            assert!(devices.iter().all(|device| device.free <= device.capacity && device.capacity <= Quantity::ONE));
            assert_eq!(devices.iter().map(|device| device.free.0).sum::<u64>(), self.free.of(name).0);
            assert_eq!(devices.iter().map(|device| device.capacity.0).sum::<u64>(), self.total.of(name).0);
        }
    }
}

/// Whether so much of a resource with devices may be asked: a fraction of one, or a whole number.
fn is_divisible(asked: Quantity) -> bool {
    asked < Quantity::ONE || asked.0.is_multiple_of(Quantity::UNIT)
}
