// SPDX-License-Identifier: LGPL-2.1-or-later

//! Record events with the flightrec recorder, and read them.
//!
//! ```no_run
//! use tracing_subscriber::prelude::*;
//! tracing_subscriber::registry().with(flightrec::Layer::new("default")).init();
//! // tracing::error!(disk = "sda", "disk is full") records {"msg":"disk is full","disk":"sda",…}
//!
//! for record in flightrec::Reader::open("default").unwrap() {
//!     let record = record.unwrap();
//!     println!("{} {} {}", record.seq, record.comm, String::from_utf8_lossy(&record.payload));
//! }
//! ```
//!
//! It speaks to the driver itself, by `<linux/flightrec.h>`; without the feature "tracing" it
//! needs nothing but the standard library. A channel that is open keeps the driver from being
//! unloaded.

use std::ffi::{c_int, c_ulong};
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

/// Severities are those of syslog(3).
pub const EMERG: u8 = 0;
pub const ALERT: u8 = 1;
pub const CRIT: u8 = 2;
pub const ERR: u8 = 3;
pub const WARNING: u8 = 4;
pub const NOTICE: u8 = 5;
pub const INFO: u8 = 6;
pub const DEBUG: u8 = 7;

// Where the channels are; and the ABI, all of it in the machine's byte order.
const DEVICES: &str = "/dev/flightrec";
/// Bytes of a record, its `<N>` counted.
pub const PAYLOAD_MAX: usize = 4096;
const NAME_MAX: usize = 32;
const ABI_VERSION: u16 = 1;
const HEADER_MIN: usize = 88; // up to the name, as the first drivers had it
const HEADER_SIZE: usize = 104; // with the control group and the start of the process
const INFO_SIZE: usize = 64;
const READ_SIZE: usize = 65536; // of any record at least 256 + PAYLOAD_MAX
const ORIGIN_KERNEL: u8 = 1;
const FLAG_INTERRUPT: u16 = 1;
const IOC_GET_INFO: c_ulong = 2 << 30 | (INFO_SIZE as c_ulong) << 16 | 0xf1 << 8;
const IOC_SEEK_SEQ: c_ulong = 1 << 30 | 8 << 16 | 0xf1 << 8 | 1;
const IOC_SEEK_TIME: c_ulong = 1 << 30 | 8 << 16 | 0xf1 << 8 | 2;

// As amd64 and arm64 have them.
const O_NONBLOCK: i32 = 0o4000;
const O_NOCTTY: i32 = 0o400;
#[cfg(feature = "tracing")]
const KEEP_OPEN: [i32; 3] = [12, 105, 122]; // ENOMEM, ENOBUFS, EDQUOT

extern "C" {
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
}

/// A record with its stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Of the channel, dense, from 1.
    pub seq: u64,
    /// Records that are not there between the one read before and this one.
    pub lost: u64,
    /// Nanoseconds since boot, suspend included.
    pub boot_ns: u64,
    /// Nanoseconds since 1970 UTC.
    pub wall_ns: u64,
    pub severity: u8,
    /// A kernel module wrote it.
    pub kernel: bool,
    /// No task did: the numbers are 0.
    pub interrupt: bool,
    pub pid: u32,
    pub tgid: u32,
    pub uid: u32,
    pub euid: u32,
    pub cpu: u32,
    /// What the writer calls itself: a claim.
    pub comm: String,
    pub payload: Vec<u8>,
    /// Number of the writer's control group; 0: not known.
    pub cgroup: u64,
    /// When its process was started, in nanoseconds since boot; 0: not known.
    pub start_ns: u64,
}

fn no_record() -> Error {
    Error::new(ErrorKind::InvalidData, "no record: this crate and the driver do not fit together")
}

fn word16(buffer: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([buffer[at], buffer[at + 1]])
}

fn word32(buffer: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(buffer[at..at + 4].try_into().expect("four bytes"))
}

fn word64(buffer: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(buffer[at..at + 8].try_into().expect("eight bytes"))
}

/// The record at the beginning of what read(2) delivered, and its bytes there.
pub fn decode(buffer: &[u8]) -> Result<(Record, usize)> {
    if buffer.len() < HEADER_MIN {
        return Err(no_record());
    }
    let size = word32(buffer, 0) as usize;
    let header = word16(buffer, 6) as usize;
    let len = word32(buffer, 40) as usize;
    // Later versions of the driver may have more in front of the payload.
    if word16(buffer, 4) < ABI_VERSION
        || header < HEADER_MIN
        || header > size
        || size > buffer.len()
        || size % 8 != 0
        || len > size - header
    {
        return Err(no_record());
    }
    let comm = buffer[72..HEADER_MIN].split(|byte| *byte == 0).next().unwrap_or_default();
    let whole = header >= HEADER_SIZE;
    let record = Record {
        lost: word64(buffer, 8),
        seq: word64(buffer, 16),
        boot_ns: word64(buffer, 24),
        wall_ns: word64(buffer, 32),
        severity: buffer[44],
        kernel: buffer[45] == ORIGIN_KERNEL,
        interrupt: word16(buffer, 46) & FLAG_INTERRUPT != 0,
        pid: word32(buffer, 48),
        tgid: word32(buffer, 52),
        uid: word32(buffer, 56),
        euid: word32(buffer, 60),
        cpu: word32(buffer, 64),
        comm: String::from_utf8_lossy(comm).into_owned(),
        payload: buffer[header..header + len].to_vec(),
        cgroup: if whole { word64(buffer, 88) } else { 0 },
        start_ns: if whole { word64(buffer, 96) } else { 0 },
    };
    Ok((record, size))
}

/// A channel, which is one: no file that somebody made in its place.
fn open(channel: &str, write: bool, flags: i32) -> Result<File> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if channel.is_empty() || channel.len() >= NAME_MAX || !channel.bytes().all(good) {
        let why = format!("{channel:?} is not the name of a channel: 1 to 31 of a-z, 0-9, _ and -");
        return Err(Error::new(ErrorKind::InvalidInput, why));
    }
    let path = format!("{DEVICES}/{channel}");
    // Without O_CREAT: a missing channel must not become a file.
    let file = OpenOptions::new().read(!write).write(write).custom_flags(flags | O_NOCTTY).open(&path)?;
    let mut info = [0u8; INFO_SIZE];
    // SAFETY: the driver writes INFO_SIZE bytes, as the request says; others refuse it.
    if unsafe { ioctl(file.as_raw_fd(), IOC_GET_INFO, info.as_mut_ptr()) } != 0 {
        let why = format!("{path}: not a channel of the recorder");
        return Err(Error::new(ErrorKind::InvalidInput, why));
    }
    Ok(file)
}

/// A channel that is written to, by any number of threads.
#[derive(Debug)]
pub struct Writer(File);

impl Writer {
    /// Open a channel for writing.
    pub fn open(channel: &str) -> Result<Writer> {
        open(channel, true, 0).map(Writer)
    }

    /// Record a text as one event. It never waits for anybody.
    ///
    /// Where it is refused, nothing is recorded, and the error's number is EMSGSIZE (more than
    /// PAYLOAD_MAX - 3 bytes), EDQUOT (this user has written too much in the last second),
    /// ENOMEM or ENOBUFS.
    pub fn write(&self, severity: u8, text: &[u8]) -> Result<()> {
        if severity > DEBUG {
            return Err(Error::new(ErrorKind::InvalidInput, format!("severity {severity} is not one of 0 to 7")));
        }
        (&self.0).write(&[&[b'<', b'0' + severity, b'>'], text].concat()).map(|_| ())
    }
}

/// A channel that is read, from the oldest record on.
///
/// As an iterator it ends when there is none any more; with `follow` it waits for more.
#[derive(Debug)]
pub struct Reader {
    file: File,
    buffer: Vec<u8>,
    at: usize,
    have: usize,
}

impl Reader {
    /// Open a channel to read what is there.
    pub fn open(channel: &str) -> Result<Reader> {
        Reader::new(channel, O_NONBLOCK)
    }

    /// Open a channel to read, and wait for more.
    pub fn follow(channel: &str) -> Result<Reader> {
        Reader::new(channel, 0)
    }

    fn new(channel: &str, flags: i32) -> Result<Reader> {
        let file = open(channel, false, flags)?;
        Ok(Reader { file, buffer: vec![0; READ_SIZE], at: 0, have: 0 })
    }

    fn seek(&mut self, request: c_ulong, to: u64) -> Result<()> {
        // SAFETY: the driver reads eight bytes, as the request says.
        if unsafe { ioctl(self.file.as_raw_fd(), request, &to as *const u64) } != 0 {
            return Err(Error::last_os_error());
        }
        (self.at, self.have) = (0, 0);
        Ok(())
    }

    /// Go to the record of a number; if it was overwritten, `lost` of the next one says so.
    pub fn seek_seq(&mut self, seq: u64) -> Result<()> {
        self.seek(IOC_SEEK_SEQ, seq)
    }

    /// Go to the first record at or after a time on CLOCK_BOOTTIME.
    pub fn seek_time(&mut self, boot_ns: u64) -> Result<()> {
        self.seek(IOC_SEEK_TIME, boot_ns)
    }
}

impl Iterator for Reader {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        while self.at >= self.have {
            match self.file.read(&mut self.buffer) {
                Ok(0) => return None,
                Ok(n) => (self.at, self.have) = (0, n),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Some(Err(error)),
            }
        }
        Some(decode(&self.buffer[self.at..self.have]).map(|(record, size)| {
            self.at += size;
            record
        }))
    }
}

#[cfg(feature = "tracing")]
pub use layer::Layer;

#[cfg(feature = "tracing")]
mod layer {
    use super::*;
    use std::fmt::{Debug, Write as _};
    use std::sync::{Arc, Mutex, MutexGuard};
    use std::time::{Duration, Instant};
    use tracing_core::field::{Field, Visit};
    use tracing_core::{Event, Level, Subscriber};
    use tracing_subscriber::layer::Context;

    const RETRY: Duration = Duration::from_secs(1);

    /// Records the events of `tracing`: a JSON object with `msg`, `target` and the fields. A
    /// message that is too long for a record is several, "[2/3] " in front of each.
    ///
    /// The driver that is missing, or refuses, does not end the program: `refused` counts the
    /// events, and the channel is opened again after a second.
    ///
    /// A clone is the same layer: keep one to ask it for `refused`.
    #[derive(Clone)]
    pub struct Layer {
        channel: String,
        state: Arc<Mutex<State>>,
    }

    #[derive(Default)]
    struct State {
        writer: Option<Writer>,
        tried: Option<Instant>,
        refused: u64,
    }

    impl Layer {
        /// A layer that writes to a channel, which need not be there yet.
        pub fn new(channel: &str) -> Layer {
            Layer { channel: channel.to_string(), state: Arc::default() }
        }

        /// Events that were not recorded, or not all of them.
        pub fn refused(&self) -> u64 {
            self.state().refused
        }

        // A panic elsewhere leaves nothing half-done in it.
        fn state(&self) -> MutexGuard<'_, State> {
            self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
        }

        fn record(&self, severity: u8, text: &str) {
            let mut state = self.state();
            if state.writer.is_none() && state.tried.map_or(true, |tried| tried.elapsed() >= RETRY) {
                state.tried = Some(Instant::now());
                state.writer = Writer::open(&self.channel).ok();
            }
            let Some(writer) = &state.writer else {
                state.refused += 1;
                return;
            };
            let Err(error) = pieces(text).iter().try_for_each(|piece| writer.write(severity, piece)) else {
                return;
            };
            state.refused += 1;
            // Of these the next event may fare better.
            if !error.raw_os_error().is_some_and(|number| KEEP_OPEN.contains(&number)) {
                state.writer = None;
            }
        }
    }

    impl<S: Subscriber> tracing_subscriber::Layer<S> for Layer {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut fields = Fields::default();
            event.record(&mut fields);
            let mut text = String::from("{\"msg\":");
            quote(&mut text, &fields.message);
            text.push_str(",\"target\":");
            quote(&mut text, event.metadata().target());
            text.push_str(&fields.others);
            text.push('}');
            self.record(severity(event.metadata().level()), &text);
        }
    }

    fn severity(level: &Level) -> u8 {
        match *level {
            Level::ERROR => ERR,
            Level::WARN => WARNING,
            Level::INFO => INFO,
            _ => DEBUG,
        }
    }

    /// What an event has: its message, and the other fields as members of JSON.
    #[derive(Default)]
    struct Fields {
        message: String,
        others: String,
    }

    impl Fields {
        fn add(&mut self, field: &Field, value: &str) {
            self.others.push(',');
            quote(&mut self.others, field.name());
            self.others.push(':');
            self.others.push_str(value);
        }
    }

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            self.record_str(field, &format!("{value:?}"));
        }

        fn record_str(&mut self, field: &Field, value: &str) {
            if field.name() == "message" {
                self.message = value.to_string();
                return;
            }
            let mut quoted = String::new();
            quote(&mut quoted, value);
            self.add(field, &quoted);
        }

        fn record_i64(&mut self, field: &Field, value: i64) {
            self.add(field, &value.to_string());
        }

        fn record_u64(&mut self, field: &Field, value: u64) {
            self.add(field, &value.to_string());
        }

        fn record_bool(&mut self, field: &Field, value: bool) {
            self.add(field, &value.to_string());
        }
    }

    /// A string of JSON.
    fn quote(out: &mut String, text: &str) {
        out.push('"');
        for character in text.chars() {
            match character {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                control if control < ' ' => {
                    // Into a string nothing fails.
                    let _ = write!(out, "\\u{:04x}", control as u32);
                }
                other => out.push(other),
            }
        }
        out.push('"');
    }

    /// A text in what fits into records, not within a character.
    fn pieces(text: &str) -> Vec<Vec<u8>> {
        let most = PAYLOAD_MAX - 3;
        if text.len() <= most {
            return vec![text.as_bytes().to_vec()];
        }
        let most = most - "[99999/99999] ".len();
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let mut end = most.min(rest.len());
            while !rest.is_char_boundary(end) {
                end -= 1;
            }
            parts.push(&rest[..end]);
            rest = &rest[end..];
        }
        let count = parts.len();
        let number = |(n, part): (usize, &&str)| format!("[{}/{count}] {part}", n + 1).into_bytes();
        parts.iter().enumerate().map(number).collect()
    }
}
