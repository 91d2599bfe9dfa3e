// SPDX-License-Identifier: GPL-2.0-or-later

// What the tests have bindings/go do: see test_bindings.py.
package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"flightrec"
)

func must(err error) {
	if err != nil {
		fmt.Println("FAILED:", err)
		os.Exit(1)
	}
}

func show(r flightrec.Record) {
	bit := map[bool]int{true: 1}
	fmt.Printf("%d %d %d %d %d %d %d %d %d %d %d %d [%s] %x\n", r.Seq, r.Lost, r.Boot.Nanoseconds(), r.Wall.UnixNano(),
		r.Severity, bit[r.Kernel], bit[r.Interrupt], r.PID, r.TGID, r.UID, r.EUID, r.CPU, r.Comm, r.Payload)
}

func decode(path string) {
	buffer, err := os.ReadFile(path)
	must(err)
	for len(buffer) > 0 {
		record, size, err := flightrec.Decode(buffer)
		must(err)
		show(record)
		buffer = buffer[size:]
	}
}

func write(channel string) {
	writer, err := flightrec.OpenWriter(channel)
	must(err)
	must(writer.Write(flightrec.Notice, []byte("Größe\xff")))
	if writer.Write(8, nil) == nil || writer.Write(0, make([]byte, flightrec.PayloadMax)) == nil {
		must(errors.New("taken, and must be refused"))
	}
	must(writer.Close())
	handler := flightrec.NewHandler(channel, &slog.HandlerOptions{Level: slog.LevelDebug})
	logger := slog.New(handler)
	logger.Debug("debug")
	logger.With("unit", "a").WithGroup("disk").Info("in\nfo", "name", "sda", "full", true)
	logger.Warn("warning")
	logger.Error("error")
	logger.Error(strings.Repeat("ä", 5000))
	must(handler.Close())
	fmt.Println("refused", handler.Refused())
}

// The program goes on without the driver.
func missing(channel string) {
	handler := flightrec.NewHandler(channel, nil)
	for n := 0; n < 50; n++ {
		slog.New(handler).Info("lost")
	}
	fmt.Println("refused", handler.Refused())
	_, err := flightrec.OpenReader(channel)
	fmt.Println(err)
}

func read(channel string) {
	reader, err := flightrec.OpenReader(channel)
	must(err)
	must(reader.SeekSeq(1))
	for {
		record, err := reader.Next()
		if err == io.EOF {
			break
		}
		must(err)
		show(record)
	}
	must(reader.Close())
}

func wait(channel string) {
	reader, err := flightrec.OpenReader(channel)
	must(err)
	fmt.Println("waiting")
	record, err := reader.Wait()
	must(err)
	show(record)
	go reader.Close()
	if _, err = reader.Wait(); !errors.Is(err, os.ErrClosed) {
		must(fmt.Errorf("not closed but %v", err))
	}
}

func main() {
	map[string]func(string){
		"decode": decode, "write": write, "missing": missing, "read": read, "wait": wait,
	}[os.Args[1]](os.Args[2])
}
