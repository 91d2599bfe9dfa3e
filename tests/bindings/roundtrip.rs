// SPDX-License-Identifier: GPL-2.0-or-later

// What the tests have bindings/rust do: see test_bindings.py.
use flightrec::{decode, Layer, Reader, Record, Writer, NOTICE, PAYLOAD_MAX};
use tracing::{debug, error, info, warn};
use tracing_subscriber::prelude::*;

fn show(r: &Record) {
    let hex: String = r.payload.iter().map(|byte| format!("{byte:02x}")).collect();
    println!(
        "{} {} {} {} {} {} {} {} {} {} {} {} [{}] {hex}",
        r.seq, r.lost, r.boot_ns, r.wall_ns, r.severity, r.kernel as u8, r.interrupt as u8, r.pid, r.tgid, r.uid,
        r.euid, r.cpu, r.comm
    );
}

fn show_all(path: &str) -> std::io::Result<()> {
    let content = std::fs::read(path)?;
    let mut at = 0;
    while at < content.len() {
        let (record, size) = decode(&content[at..])?;
        show(&record);
        at += size;
    }
    Ok(())
}

fn logged(channel: &str, log: impl FnOnce()) {
    let layer = Layer::new(channel);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer.clone()), log);
    println!("refused {}", layer.refused());
}

fn write(channel: &str) -> std::io::Result<()> {
    let writer = Writer::open(channel)?;
    writer.write(NOTICE, b"Gr\xc3\xb6\xc3\x9fe\xff")?;
    assert!(writer.write(8, b"").is_err() && writer.write(0, &[0; PAYLOAD_MAX]).is_err());
    logged(channel, || {
        debug!("debug");
        info!(name = "sda", full = true, count = 3, "in\nfo");
        warn!("warning");
        error!("error");
        error!("{}", "ä".repeat(5000));
    });
    Ok(())
}

// The program goes on without the driver.
fn missing(channel: &str) -> std::io::Result<()> {
    logged(channel, || (0..50).for_each(|_| info!("lost")));
    println!("{}", Reader::open(channel).expect_err("a reader of nothing"));
    Ok(())
}

fn read(channel: &str) -> std::io::Result<()> {
    let mut reader = Reader::open(channel)?;
    reader.seek_seq(1)?;
    for record in reader {
        show(&record?);
    }
    Ok(())
}

fn wait(channel: &str) -> std::io::Result<()> {
    println!("waiting");
    show(&Reader::follow(channel)?.next().expect("a record")?);
    Ok(())
}

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments[1].as_str() {
        "decode" => show_all(&arguments[2]),
        "write" => write(&arguments[2]),
        "missing" => missing(&arguments[2]),
        "read" => read(&arguments[2]),
        "wait" => wait(&arguments[2]),
        other => panic!("{other}"),
    }
}
