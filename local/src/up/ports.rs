//! Whether the ports that we need are free, and who has them if not.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;

use crate::processes;

/// A port that is to be free, and what for.
#[derive(Debug, Clone)]
pub(super) struct WantedPort {
    pub(super) address: SocketAddr,
    pub(super) needed_by: String,
}

/// All that are taken, one line each; `None` when all are free.
pub(super) fn taken(wanted: &[WantedPort]) -> Option<String> {
    let lines: Vec<String> = wanted
        .iter()
        .filter_map(|port| {
            let error = TcpListener::bind(port.address).err()?;
            let holder = holder(port.address)
                .map_or_else(String::new, |holder| format!(", taken by {holder}"));
            Some(format!(
                "{} is needed by {} and cannot be had: {error}{holder}",
                port.address, port.needed_by
            ))
        })
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// "process 4711 (/usr/bin/etcd)", if we may know.
fn holder(address: SocketAddr) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .find_map(|table| listening_inode(&table, address))?;
    let wanted = format!("socket:[{inode}]");
    processes::all().into_iter().find_map(|pid| {
        let process = format!("/proc/{}", pid.as_raw_nonzero());
        let has_it = fs::read_dir(format!("{process}/fd"))
            .ok()?
            .flatten()
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|link| link == Path::new(&wanted));
        let program = fs::read_link(format!("{process}/exe")).unwrap_or_default();
        has_it
            .then(|| format!("process {} ({})", pid.as_raw_nonzero(), program.display()))
    })
}

/// Linux: `/proc/net/tcp` has address and port in hexadecimal (the address in the
/// machine's byte order), state 0A for listening, and the inode as tenth column.
fn listening_inode(table: &str, address: SocketAddr) -> Option<u64> {
    const LISTENING: &str = "0A";
    let here = match address.ip() {
        IpAddr::V4(ip) => format!("{:08X}", u32::from_ne_bytes(ip.octets())),
        IpAddr::V6(_) => return None,
    };
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (ip, port) = columns.get(1)?.split_once(':')?;
        // All zeros is every address, of version 4 or 6.
        let is_here = ip == here || ip.chars().all(|digit| digit == '0');
        let same = is_here
            && u16::from_str_radix(port, 16) == Ok(address.port())
            && *columns.get(3)? == LISTENING;
        if same {
            columns.get(9)?.parse().ok()
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_shown_with_its_holder() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wanted = WantedPort {
            address: listener.local_addr().unwrap(),
            needed_by: "the test".to_owned(),
        };
        let message = taken(std::slice::from_ref(&wanted)).unwrap();
        let process = format!("taken by process {} (", std::process::id());
        assert!(message.contains("is needed by the test"), "{message}");
        assert!(message.contains(&process), "{message}");
        drop(listener);
        assert_eq!(taken(&[wanted]), None);
    }

    #[test]
    fn only_listeners_count() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:13BA 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 11
   1: 00000000:13BA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12
";
        let check = |address: &str, expected| {
            assert_eq!(listening_inode(table, address.parse().unwrap()), expected);
        };
        check("127.0.0.1:5050", Some(12));
        check("127.0.0.1:5051", None);
    }
}
