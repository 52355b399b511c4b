//! A Vulkan layer that has a driver fail on purpose, and that can give out a software adapter as a GPU. `tests/driver_faults.rs`
//! compiles it by `rustc` alone; environment variables say what goes wrong:
//!
//! - `FAULTS_DISCRETE`: the adapter is a card of its own;
//! - `FAULTS_WAIT_LOST_AT`, `FAULTS_SUBMIT_LOST_AT`: the device is lost at this wait or submission, counted from 1, and for good;
//! - `FAULTS_SUBMIT_MEMORY_AT`: this submission finds no memory;
//! - `FAULTS_SUBMIT_ABORT_AT`: the process ends at this submission;
//! - `FAULTS_MEMORY`: bytes of memory that there are;
//! - `FAULTS_PIPELINE_AT`: this compute pipeline is refused, by an error that no driver should give;
//! - `FAULTS_NAN`: memory is full of NaN at first;
//! - `FAULTS_COUNT`: a file for the numbers of waits, submissions and pipelines, and the most memory, when the process ends.
//!
//! Without any of these it changes nothing, and still counts: `dispatches` tells `benches/peers/networks.py` how many kernels
//! have been launched, whichever engine does it.
//!
//! Structures are those of the Vulkan specification and of the loader's interface for layers, as far as they are looked at.

use std::collections::HashMap;
use std::env;
use std::ffi::{CStr, c_char, c_void};
use std::mem::transmute;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

type Handle = *mut c_void;
type Result = i32;
type Function = Option<unsafe extern "system" fn()>;
type GetProc = unsafe extern "system" fn(Handle, *const c_char) -> Function;

const OUT_OF_DEVICE_MEMORY: Result = -2;
const INITIALIZATION_FAILED: Result = -3;
const DEVICE_LOST: Result = -4;
const UNKNOWN: Result = -13;

const INSTANCE_CREATE_INFO: i32 = 47;
const DEVICE_CREATE_INFO: i32 = 48;
const DISCRETE: u32 = 2;

/// How each structure begins that may be one of a chain.
#[repr(C)]
struct Head {
    kind: i32,
    next: *mut Head,
}

/// What the loader tells a layer when an instance or a device is made.
#[repr(C)]
struct CreateInfo {
    head: Head,
    function: i32,
    link: *mut Link,
}

#[repr(C)]
struct Link {
    next: *mut Link,
    instance_proc: GetProc,
    /// Of devices; for instances it is another function, which is not used.
    device_proc: GetProc,
}

#[repr(C)]
pub struct Negotiation {
    kind: i32,
    next: *mut c_void,
    version: u32,
    instance_proc: Option<GetProc>,
    device_proc: Option<GetProc>,
    physical_device_proc: Option<GetProc>,
}

#[repr(C)]
struct AllocateInfo {
    head: Head,
    bytes: u64,
    kind: u32,
}

/// The first fields of the properties of an adapter.
#[repr(C)]
struct Properties {
    api_version: u32,
    driver_version: u32,
    vendor: u32,
    device: u32,
    kind: u32,
}

#[repr(C)]
struct Properties2 {
    head: Head,
    properties: Properties,
}

static INSTANCE: OnceLock<Instance> = OnceLock::new();
static DEVICE: OnceLock<GetProc> = OnceLock::new();
static LOST: AtomicBool = AtomicBool::new(false);
static SUBMISSIONS: AtomicU64 = AtomicU64::new(0);
static WAITS: AtomicU64 = AtomicU64::new(0);
static PIPELINES: AtomicU64 = AtomicU64::new(0);
static DISPATCHES: AtomicU64 = AtomicU64::new(0);
static PEAK: AtomicU64 = AtomicU64::new(0);
static ALLOCATIONS: Mutex<Option<HashMap<usize, u64>>> = Mutex::new(None);

fn told(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// What is below at the level of instances. It is asked for while the instance is made: later the loader would answer with the
/// functions of this layer.
struct Instance {
    get: GetProc,
    create_device: Function,
    properties: Function,
    properties2: Function,
}

/// Counts, and says whether this is the one that is to fail.
fn is_due(count: &AtomicU64, variable: &str) -> bool {
    let now = count.fetch_add(1, Ordering::SeqCst) + 1;
    told(variable) == Some(now)
}

/// The driver's function of that name for devices.
unsafe fn below<F: Copy>(device: Handle, name: &CStr) -> F {
    unsafe { typed(DEVICE.get().and_then(|get| get(device, name.as_ptr())), name) }
}

/// A function as what it is.
unsafe fn typed<F: Copy>(function: Function, name: &CStr) -> F {
    let function = function.unwrap_or_else(|| panic!("the driver has no {name:?}"));
    assert_eq!(size_of::<F>(), size_of_val(&function));
    unsafe { ptr::from_ref(&function).cast::<F>().read() }
}

/// The link to the layer below, of which the next layer finds its own.
unsafe fn next_link(info: *const Head, kind: i32) -> Option<*mut Link> {
    unsafe {
        let mut at = (*info).next;
        while !at.is_null() {
            let create = at.cast::<CreateInfo>();
            if (*at).kind == kind && (*create).function == 0 {
                let link = (*create).link;
                (*create).link = (*link).next;
                return Some(link);
            }
            at = (*at).next;
        }
        None
    }
}

unsafe extern "C" {
    /// The C library's: what is to be done when the process ends.
    fn atexit(function: extern "C" fn()) -> i32;
}

extern "C" fn count() {
    if let Ok(path) = env::var("FAULTS_COUNT") {
        let counts = [&WAITS, &SUBMISSIONS, &PIPELINES, &PEAK].map(|count| count.load(Ordering::SeqCst).to_string());
        std::fs::write(path, counts.join(" ")).ok();
    }
}

unsafe extern "system" fn create_instance(info: *const Head, allocator: Handle, instance: *mut Handle) -> Result {
    unsafe {
        let Some(link) = next_link(info, INSTANCE_CREATE_INFO) else { return INITIALIZATION_FAILED };
        let get = (*link).instance_proc;
        let Some(create) = get(ptr::null_mut(), c"vkCreateInstance".as_ptr()) else { return INITIALIZATION_FAILED };
        let create: unsafe extern "system" fn(*const Head, Handle, *mut Handle) -> Result = transmute(create);
        let result = create(info, allocator, instance);
        if result == 0 {
            atexit(count);
            let ask = |name: &CStr| get(*instance, name.as_ptr());
            INSTANCE.get_or_init(|| Instance {
                get,
                create_device: ask(c"vkCreateDevice"),
                properties: ask(c"vkGetPhysicalDeviceProperties"),
                properties2: ask(c"vkGetPhysicalDeviceProperties2"),
            });
        }
        result
    }
}

unsafe extern "system" fn create_device(
    adapter: Handle,
    info: *const Head,
    allocator: Handle,
    device: *mut Handle,
) -> Result {
    unsafe {
        let Some(link) = next_link(info, DEVICE_CREATE_INFO) else { return INITIALIZATION_FAILED };
        DEVICE.get_or_init(|| (*link).device_proc);
        let create: unsafe extern "system" fn(Handle, *const Head, Handle, *mut Handle) -> Result =
            typed(INSTANCE.get().and_then(|below| below.create_device), c"vkCreateDevice");
        create(adapter, info, allocator, device)
    }
}

unsafe extern "system" fn properties(adapter: Handle, out: *mut Properties) {
    unsafe {
        let get: unsafe extern "system" fn(Handle, *mut Properties) =
            typed(INSTANCE.get().and_then(|below| below.properties), c"vkGetPhysicalDeviceProperties");
        get(adapter, out);
        dress(&mut *out);
    }
}

unsafe extern "system" fn properties2(adapter: Handle, out: *mut Properties2) {
    unsafe {
        let get: unsafe extern "system" fn(Handle, *mut Properties2) =
            typed(INSTANCE.get().and_then(|below| below.properties2), c"vkGetPhysicalDeviceProperties2");
        get(adapter, out);
        dress(&mut (*out).properties);
    }
}

fn dress(properties: &mut Properties) {
    if env::var_os("FAULTS_DISCRETE").is_some() {
        properties.kind = DISCRETE;
    }
}

unsafe extern "system" fn submit(queue: Handle, count: u32, submits: *const c_void, fence: u64) -> Result {
    let now = SUBMISSIONS.fetch_add(1, Ordering::SeqCst) + 1;
    if told("FAULTS_SUBMIT_ABORT_AT") == Some(now) {
        std::process::abort();
    }
    if told("FAULTS_SUBMIT_LOST_AT") == Some(now) {
        LOST.store(true, Ordering::SeqCst);
    }
    if LOST.load(Ordering::SeqCst) {
        return DEVICE_LOST;
    }
    if told("FAULTS_SUBMIT_MEMORY_AT") == Some(now) {
        return OUT_OF_DEVICE_MEMORY;
    }
    unsafe {
        // All devices are of one driver, which has one such function.
        let submit: unsafe extern "system" fn(Handle, u32, *const c_void, u64) -> Result =
            transmute(*QUEUE_SUBMIT.get().expect("asked for"));
        submit(queue, count, submits, fence)
    }
}

/// The driver's function, which is asked of a device and called with a queue.
static QUEUE_SUBMIT: OnceLock<unsafe extern "system" fn()> = OnceLock::new();

unsafe extern "system" fn dispatch(commands: Handle, x: u32, y: u32, z: u32) {
    DISPATCHES.fetch_add(1, Ordering::SeqCst);
    unsafe {
        let dispatch: unsafe extern "system" fn(Handle, u32, u32, u32) =
            transmute(*DISPATCH.get().expect("asked for"));
        dispatch(commands, x, y, z);
    }
}

unsafe extern "system" fn dispatch_indirect(commands: Handle, buffer: u64, offset: u64) {
    DISPATCHES.fetch_add(1, Ordering::SeqCst);
    unsafe {
        let dispatch: unsafe extern "system" fn(Handle, u64, u64) =
            transmute(*DISPATCH_INDIRECT.get().expect("asked for"));
        dispatch(commands, buffer, offset);
    }
}

/// The driver's functions, which are asked of a device and called with commands.
static DISPATCH: OnceLock<unsafe extern "system" fn()> = OnceLock::new();
static DISPATCH_INDIRECT: OnceLock<unsafe extern "system" fn()> = OnceLock::new();

/// Kernels that have been launched by this process so far.
#[unsafe(no_mangle)]
pub extern "C" fn dispatches() -> u64 {
    DISPATCHES.load(Ordering::SeqCst)
}

unsafe extern "system" fn wait(device: Handle, info: *const c_void, timeout: u64) -> Result {
    if is_due(&WAITS, "FAULTS_WAIT_LOST_AT") {
        LOST.store(true, Ordering::SeqCst);
    }
    if LOST.load(Ordering::SeqCst) {
        return DEVICE_LOST;
    }
    unsafe {
        let wait: unsafe extern "system" fn(Handle, *const c_void, u64) -> Result = below(device, c"vkWaitSemaphores");
        wait(device, info, timeout)
    }
}

unsafe extern "system" fn counter(device: Handle, semaphore: u64, value: *mut u64) -> Result {
    if LOST.load(Ordering::SeqCst) {
        return DEVICE_LOST;
    }
    unsafe {
        let get: unsafe extern "system" fn(Handle, u64, *mut u64) -> Result =
            below(device, c"vkGetSemaphoreCounterValue");
        get(device, semaphore, value)
    }
}

unsafe extern "system" fn allocate(
    device: Handle,
    info: *const AllocateInfo,
    allocator: Handle,
    memory: *mut u64,
) -> Result {
    unsafe {
        let bytes = (*info).bytes;
        let mut all = ALLOCATIONS.lock().expect("no panic happens while the lock is held");
        let all = all.get_or_insert_default();
        if told("FAULTS_MEMORY").is_some_and(|most| all.values().sum::<u64>() + bytes > most) {
            return OUT_OF_DEVICE_MEMORY;
        }
        let allocate: unsafe extern "system" fn(Handle, *const AllocateInfo, Handle, *mut u64) -> Result =
            below(device, c"vkAllocateMemory");
        let result = allocate(device, info, allocator, memory);
        if result == 0 {
            all.insert(*memory as usize, bytes);
            PEAK.fetch_max(all.values().sum(), Ordering::SeqCst);
            if env::var_os("FAULTS_NAN").is_some() {
                poison(device, *memory, bytes);
            }
        }
        result
    }
}

/// Fills memory with NaN, where the host can write it.
unsafe fn poison(device: Handle, memory: u64, bytes: u64) {
    unsafe {
        let map: unsafe extern "system" fn(Handle, u64, u64, u64, u32, *mut Handle) -> Result =
            below(device, c"vkMapMemory");
        let unmap: unsafe extern "system" fn(Handle, u64) = below(device, c"vkUnmapMemory");
        let mut start = ptr::null_mut();
        if map(device, memory, 0, bytes, 0, &mut start) == 0 {
            std::slice::from_raw_parts_mut(start.cast::<f32>(), bytes as usize / 4).fill(f32::NAN);
            unmap(device, memory);
        }
    }
}

unsafe extern "system" fn free(device: Handle, memory: u64, allocator: Handle) {
    unsafe {
        let mut all = ALLOCATIONS.lock().expect("no panic happens while the lock is held");
        all.get_or_insert_default().remove(&(memory as usize));
        let free: unsafe extern "system" fn(Handle, u64, Handle) = below(device, c"vkFreeMemory");
        free(device, memory, allocator);
    }
}

unsafe extern "system" fn pipelines(
    device: Handle,
    cache: u64,
    count: u32,
    infos: *const c_void,
    allocator: Handle,
    made: *mut u64,
) -> Result {
    unsafe {
        if is_due(&PIPELINES, "FAULTS_PIPELINE_AT") {
            *made = 0;
            return UNKNOWN;
        }
        let create: unsafe extern "system" fn(Handle, u64, u32, *const c_void, Handle, *mut u64) -> Result =
            below(device, c"vkCreateComputePipelines");
        create(device, cache, count, infos, allocator, made)
    }
}

/// A function of this layer in the form in which the loader hands functions on.
macro_rules! own {
    ($function:ident) => {
        Some(transmute::<*const (), unsafe extern "system" fn()>($function as *const ()))
    };
}

unsafe extern "system" fn device_proc(device: Handle, name: *const c_char) -> Function {
    unsafe {
        let below = |name: *const c_char| DEVICE.get().and_then(|get| get(device, name));
        match CStr::from_ptr(name).to_bytes() {
            b"vkGetDeviceProcAddr" => own!(device_proc),
            b"vkQueueSubmit" => {
                QUEUE_SUBMIT.get_or_init(|| below(name).expect("every driver has it"));
                own!(submit)
            }
            b"vkCmdDispatch" => {
                DISPATCH.get_or_init(|| below(name).expect("every driver has it"));
                own!(dispatch)
            }
            b"vkCmdDispatchIndirect" => {
                DISPATCH_INDIRECT.get_or_init(|| below(name).expect("every driver has it"));
                own!(dispatch_indirect)
            }
            // Whoever has another name for a function gets the driver's answer about it, and no fault.
            b"vkWaitSemaphores" if below(name).is_some() => own!(wait),
            b"vkWaitSemaphoresKHR" if below(c"vkWaitSemaphores".as_ptr()).is_some() => own!(wait),
            b"vkGetSemaphoreCounterValue" if below(name).is_some() => own!(counter),
            b"vkGetSemaphoreCounterValueKHR" if below(c"vkGetSemaphoreCounterValue".as_ptr()).is_some() => {
                own!(counter)
            }
            b"vkAllocateMemory" => own!(allocate),
            b"vkFreeMemory" => own!(free),
            b"vkCreateComputePipelines" => own!(pipelines),
            _ => below(name),
        }
    }
}

unsafe extern "system" fn instance_proc(instance: Handle, name: *const c_char) -> Function {
    unsafe {
        match CStr::from_ptr(name).to_bytes() {
            b"vkGetInstanceProcAddr" => own!(instance_proc),
            b"vkGetDeviceProcAddr" => own!(device_proc),
            b"vkCreateInstance" => own!(create_instance),
            b"vkCreateDevice" => own!(create_device),
            b"vkGetPhysicalDeviceProperties" => own!(properties),
            b"vkGetPhysicalDeviceProperties2" | b"vkGetPhysicalDeviceProperties2KHR" => own!(properties2),
            _ => INSTANCE.get().and_then(|below| (below.get)(instance, name)),
        }
    }
}

/// The one function that the loader looks for.
///
/// # Safety
/// It is called by the loader, with a structure of its own.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn vkNegotiateLoaderLayerInterfaceVersion(negotiation: *mut Negotiation) -> Result {
    unsafe {
        let negotiation = &mut *negotiation;
        negotiation.version = negotiation.version.min(2);
        negotiation.instance_proc = Some(instance_proc);
        negotiation.device_proc = Some(device_proc);
        negotiation.physical_device_proc = None;
    }
    0
}
