//! Commands of our own on DPDK's telemetry socket (`dpdk-telemetry.py`), served by a thread of DPDK's.
use crate::Errno;
use dpdk_sys as sys;
use std::ffi::{CStr, CString, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

/// What a command answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Numbers(Vec<u64>),
    /// Names have letters, digits and underlines.
    Object(Vec<(String, Value)>),
    /// Nothing of that name: DPDK answers `null`.
    Unknown,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Number(u64),
    Text(String),
}
/// Called with the command and what stands behind its comma.
pub type Source = Box<dyn Fn(&str, &str) -> Answer + Send + Sync>;

const EXISTS: i32 = 17;
static SOURCE: OnceLock<Source> = OnceLock::new();

/// Serves commands, each a name that begins with `/` and a line of help. Once in a process.
pub fn serve(commands: &[(&CStr, &CStr)], source: Source) -> Result<(), Errno> {
    if SOURCE.set(source).is_err() {
        return Err(Errno(EXISTS));
    }
    for (command, help) in commands {
        // SAFETY: both texts end with zero and are copied; the callback is a function of this program.
        let code = unsafe { sys::rte_telemetry_register_cmd(command.as_ptr(), Some(answer), help.as_ptr()) };
        if code < 0 {
            return Err(Errno::from_negative(code));
        }
    }
    Ok(())
}

/// DPDK leaves its socket behind. For the end of a process whose telemetry nobody will ask any more.
pub fn remove_socket() {
    // SAFETY: returns a text that lives as long as the process.
    let dir = unsafe { CStr::from_ptr(sys::rte_eal_get_runtime_dir()) };
    if let Ok(dir) = dir.to_str().map(std::path::Path::new)
        && dir.is_absolute()
    {
        // What is not there need not be removed.
        let _ = std::fs::remove_file(dir.join("dpdk_telemetry.v2"));
        let _ = std::fs::remove_dir(dir);
    }
}

unsafe extern "C" fn answer(
    command: *const c_char,
    words: *const c_char,
    data: *mut sys::rte_tel_data,
) -> c_int {
    let text = |pointer: *const c_char| {
        // SAFETY: DPDK passes null or a text that ends with zero and lives through this call.
        (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) }.to_string_lossy())
    };
    let (command, words) = (text(command).unwrap_or_default(), text(words).unwrap_or_default());
    // A panic must not reach C.
    let asked = catch_unwind(AssertUnwindSafe(|| SOURCE.get().map(|source| source(&command, words.trim()))));
    match asked {
        Ok(Some(Answer::Numbers(numbers))) => put_numbers(data, &numbers),
        Ok(Some(Answer::Object(members))) => put_object(data, &members),
        _ => -1,
    }
}
/// What does not fit DPDK's answer is left out.
fn put_numbers(data: *mut sys::rte_tel_data, numbers: &[u64]) -> c_int {
    // SAFETY: `data` is the answer DPDK wants filled in, alive and ours through the callback.
    let code = unsafe { sys::shim_telemetry_start_numbers(data) };
    for number in numbers {
        // SAFETY: as above.
        if unsafe { sys::shim_telemetry_number(data, *number) } < 0 {
            break;
        }
    }
    code
}
fn put_object(data: *mut sys::rte_tel_data, members: &[(String, Value)]) -> c_int {
    // SAFETY: as in `put_numbers`.
    let code = unsafe { sys::rte_tel_data_start_dict(data) };
    for (name, value) in members {
        let Ok(name) = CString::new(name.as_str()) else { continue };
        let put = match value {
            // SAFETY: as in `put_numbers`; the name ends with zero and is copied.
            Value::Number(number) => unsafe { sys::shim_telemetry_member(data, name.as_ptr(), *number) },
            Value::Text(text) => {
                let Ok(text) = CString::new(text.as_str()) else { continue };
                // SAFETY: as above, for both texts.
                unsafe { sys::rte_tel_data_add_dict_string(data, name.as_ptr(), text.as_ptr()) }
            }
        };
        if put < 0 {
            break;
        }
    }
    code
}
