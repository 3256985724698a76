// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{mpsc, Arc, Mutex};
use std::thread;

fn main() {
    let total = Arc::new(Mutex::new(0u64));
    let handles: Vec<_> = (0..8u64)
        .map(|n| {
            let total = Arc::clone(&total);
            thread::spawn(move || *total.lock().unwrap() += n * n)
        })
        .collect();
    for h in handles {
        h.join().unwrap();
    }
    println!("{}", total.lock().unwrap());
    std::panic::set_hook(Box::new(|_| {}));
    let caught = thread::spawn(|| panic!("no")).join();
    println!("{}", caught.unwrap_err().downcast_ref::<&str>().unwrap());
    let (tx, rx) = mpsc::channel();
    for n in 0..3 {
        let tx = tx.clone();
        thread::spawn(move || tx.send(n).unwrap());
    }
    drop(tx);
    let mut got: Vec<i32> = rx.iter().collect();
    got.sort();
    println!("{:?}", got);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut s, _) = listener.accept().unwrap();
        let mut text = String::new();
        s.read_to_string(&mut text).unwrap();
        s.write_all(text.to_uppercase().as_bytes()).unwrap();
    });
    let mut s = TcpStream::connect(addr).unwrap();
    s.write_all(b"hello").unwrap();
    s.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    s.read_to_string(&mut answer).unwrap();
    server.join().unwrap();
    println!("{}", answer);
    let out = Command::new("sh").args(["-c", "echo child; exit 2"]).output().unwrap();
    println!("{:?} {:?}", out.status.code(), String::from_utf8_lossy(&out.stdout));
    let mut map = HashMap::new();
    for w in "a b a".split(' ') {
        *map.entry(w).or_insert(0) += 1;
    }
    let mut words: Vec<_> = map.into_iter().collect();
    words.sort();
    println!("{:?}", words);
    std::process::exit(5);
}
