// SPDX-License-Identifier: LGPL-2.1-or-later

// Package flightrec records events with the flightrec recorder, and reads them.
//
//	slog.SetDefault(slog.New(flightrec.NewHandler("default", nil)))
//	slog.Error("disk is full", "disk", "sda") // {"msg":"disk is full","disk":"sda"}
//
//	reader, err := flightrec.OpenReader("default")
//	for record, err := reader.Next(); err == nil; record, err = reader.Next() {
//		fmt.Println(record.Seq, record.Comm, string(record.Payload))
//	}
//
// It speaks to the driver itself, by <linux/flightrec.h>: there is nothing to be built, and
// no library is needed. A channel that is open keeps the driver from being unloaded.
package flightrec

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"
	"unsafe"
)

// Severities are those of syslog(3).
const (
	Emerg = iota
	Alert
	Crit
	Err
	Warning
	Notice
	Info
	Debug
)

// Where the channels are; and the ABI, all of it in the machine's byte order.
const (
	devices       = "/dev/flightrec"
	PayloadMax    = 4096 // bytes of a record, its "<N>" counted
	nameMax       = 32
	abiVersion    = 1
	headerMin     = 88  // up to the name, as the first drivers had it
	headerSize    = 104 // with the control group and the start of the process
	infoSize      = 64
	readSize      = 65536 // of any record at least 256 + PayloadMax
	originKernel  = 1
	flagInterrupt = 1
	iocGetInfo    = 2<<30 | infoSize<<16 | 0xf1<<8 | 0
	iocSeekSeq    = 1<<30 | 8<<16 | 0xf1<<8 | 1
	iocSeekTime   = 1<<30 | 8<<16 | 0xf1<<8 | 2
)

// ErrNoRecord says that what was read is no record: this package and the driver do not fit together.
var ErrNoRecord = errors.New("no record: this package and the driver do not fit together")

// A Record is one event with its stamp.
type Record struct {
	Seq       uint64        // of the channel, dense, from 1
	Lost      uint64        // records that are not there between the one read before and this one
	Boot      time.Duration // since boot, suspend included
	Wall      time.Time
	Severity  int
	Kernel    bool // a kernel module wrote it
	Interrupt bool // no task did: the numbers are 0
	PID       uint32
	TGID      uint32
	UID       uint32
	EUID      uint32
	CPU       uint32
	Comm      string // what the writer calls itself: a claim
	Payload   []byte
	Cgroup    uint64        // number of the writer's control group; 0: not known
	Start     time.Duration // when its process was started, since boot; 0: not known
}

// Decode takes the record at the beginning of what read(2) delivered, and says how many bytes
// it has. The payload is part of the buffer.
func Decode(buffer []byte) (Record, int, error) {
	if len(buffer) < headerMin {
		return Record{}, 0, ErrNoRecord
	}
	order := binary.NativeEndian
	size, version, header := order.Uint32(buffer), order.Uint16(buffer[4:]), uint32(order.Uint16(buffer[6:]))
	length := order.Uint32(buffer[40:])
	// Later versions of the driver may have more in front of the payload.
	if version < abiVersion || header < headerMin || header > size || uint64(size) > uint64(len(buffer)) ||
		size%8 != 0 || length > size-header {
		return Record{}, 0, ErrNoRecord
	}
	comm, _, _ := bytes.Cut(buffer[72:headerMin], []byte{0})
	var cgroup, start uint64
	if header >= headerSize {
		cgroup, start = order.Uint64(buffer[88:]), order.Uint64(buffer[96:])
	}
	return Record{
		Lost: order.Uint64(buffer[8:]), Seq: order.Uint64(buffer[16:]),
		Boot: time.Duration(order.Uint64(buffer[24:])), Wall: time.Unix(0, int64(order.Uint64(buffer[32:]))),
		Severity: int(buffer[44]), Kernel: buffer[45] == originKernel,
		Interrupt: order.Uint16(buffer[46:])&flagInterrupt != 0,
		PID:       order.Uint32(buffer[48:]), TGID: order.Uint32(buffer[52:]), UID: order.Uint32(buffer[56:]),
		EUID: order.Uint32(buffer[60:]), CPU: order.Uint32(buffer[64:]),
		Comm: strings.ToValidUTF8(string(comm), "\ufffd"), Payload: buffer[header : header+length],
		Cgroup: cgroup, Start: time.Duration(start),
	}, int(size), nil
}

func ioctl(fd uintptr, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}

// open returns a channel, which is one: no file that somebody made in its place.
func open(channel string, flags int) (*os.File, error) {
	if channel == "" || len(channel) >= nameMax ||
		strings.Trim(channel, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
		return nil, fmt.Errorf("%q is not the name of a channel: 1 to %d of a-z, 0-9, _ and -", channel, nameMax-1)
	}
	path := devices + "/" + channel
	// Without O_CREAT: a missing channel must not become a file. Not blocking: the runtime waits.
	fd, err := syscall.Open(path, flags|syscall.O_CLOEXEC|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	var info [infoSize]byte
	if err := ioctl(uintptr(fd), iocGetInfo, unsafe.Pointer(&info)); err != nil {
		syscall.Close(fd)
		return nil, &os.PathError{Op: "not a channel of the recorder", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// A Writer is a channel that is written to, by any number of goroutines.
type Writer struct{ file *os.File }

// OpenWriter opens a channel for writing.
func OpenWriter(channel string) (*Writer, error) {
	file, err := open(channel, syscall.O_WRONLY)
	if err != nil {
		return nil, err
	}
	return &Writer{file}, nil
}

// Write records text as one event. It never waits for anybody.
//
// Where it is refused, nothing is recorded, and the error is syscall.EMSGSIZE (more than
// PayloadMax - 3 bytes), EDQUOT (this user has written too much in the last second), ENOMEM or
// ENOBUFS.
func (w *Writer) Write(severity int, text []byte) error {
	if severity < Emerg || severity > Debug {
		return fmt.Errorf("severity %d is not one of 0 to 7", severity)
	}
	_, err := w.file.Write(append([]byte{'<', byte('0' + severity), '>'}, text...))
	return err
}

// Close lets go of the channel.
func (w *Writer) Close() error { return w.file.Close() }

// A Reader is a channel that is read, from the oldest record on, by one goroutine.
type Reader struct {
	file   *os.File
	buffer []byte
	have   []byte
}

// OpenReader opens a channel for reading.
func OpenReader(channel string) (*Reader, error) {
	file, err := open(channel, syscall.O_RDONLY)
	if err != nil {
		return nil, err
	}
	return &Reader{file: file, buffer: make([]byte, readSize)}, nil
}

func (r *Reader) take() (Record, error) {
	record, size, err := Decode(r.have)
	if err == nil {
		r.have = r.have[size:]
	}
	return record, err
}

// Next returns the next record, or io.EOF if there is none now. Its payload is good until the
// next call.
func (r *Reader) Next() (Record, error) {
	if len(r.have) > 0 {
		return r.take()
	}
	conn, err := r.file.SyscallConn()
	if err != nil {
		return Record{}, err
	}
	n := 0
	var failed error
	err = conn.Read(func(fd uintptr) bool {
		for {
			if n, failed = syscall.Read(int(fd), r.buffer); failed != syscall.EINTR {
				return true
			}
		}
	})
	if err == nil {
		err = failed
	}
	if err == syscall.EAGAIN || err == nil && n <= 0 {
		return Record{}, io.EOF
	}
	if err != nil {
		return Record{}, err
	}
	r.have = r.buffer[:n]
	return r.take()
}

// Wait is Next, but waits for a record; Close in another goroutine ends that with os.ErrClosed.
func (r *Reader) Wait() (Record, error) {
	if len(r.have) == 0 {
		n, err := r.file.Read(r.buffer)
		if err != nil {
			return Record{}, err
		}
		r.have = r.buffer[:n]
	}
	return r.take()
}

func (r *Reader) seek(request uintptr, to uint64) error {
	conn, err := r.file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := conn.Control(func(fd uintptr) { failed = ioctl(fd, request, unsafe.Pointer(&to)) }); err != nil {
		return err
	}
	if failed == nil {
		r.have = nil
	}
	return failed
}

// SeekSeq goes to the record of a number; if it was overwritten, the next one's Lost says so.
func (r *Reader) SeekSeq(seq uint64) error { return r.seek(iocSeekSeq, seq) }

// SeekTime goes to the first record at or after a time since boot.
func (r *Reader) SeekTime(boot time.Duration) error { return r.seek(iocSeekTime, uint64(boot)) }

// Close lets go of the channel.
func (r *Reader) Close() error { return r.file.Close() }

// How long a channel that could not be opened is not tried again.
const retry = time.Second

// sink is what a Handler and those made of it share.
type sink struct {
	mutex   sync.Mutex
	channel string
	writer  *Writer
	why     error
	retryAt time.Time
	refused uint64
	text    bytes.Buffer
}

// A Handler records what log/slog logs: a JSON object without time and level, which the stamp
// has. A message that is too long for a record is several, "[2/3] " in front of each.
//
// The driver that is missing, or refuses, does not end the program: Handle returns the error,
// Refused counts the messages, and the channel is opened again after a second.
type Handler struct {
	sink  *sink
	inner slog.Handler
}

// NewHandler makes one; options may be nil.
func NewHandler(channel string, options *slog.HandlerOptions) *Handler {
	shared := &sink{channel: channel}
	mine := slog.HandlerOptions{}
	if options != nil {
		mine = *options
	}
	theirs := mine.ReplaceAttr
	mine.ReplaceAttr = func(groups []string, attribute slog.Attr) slog.Attr {
		if _, ok := attribute.Value.Any().(slog.Level); ok && len(groups) == 0 && attribute.Key == slog.LevelKey {
			return slog.Attr{}
		}
		if theirs != nil {
			return theirs(groups, attribute)
		}
		return attribute
	}
	return &Handler{shared, slog.NewJSONHandler(&shared.text, &mine)}
}

// Refused says how many messages were not recorded, or not all of them.
func (h *Handler) Refused() uint64 {
	h.sink.mutex.Lock()
	defer h.sink.mutex.Unlock()
	return h.sink.refused
}

// Enabled is of slog.Handler.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.inner.Enabled(ctx, level)
}

// WithAttrs is of slog.Handler.
func (h *Handler) WithAttrs(attributes []slog.Attr) slog.Handler {
	return &Handler{h.sink, h.inner.WithAttrs(attributes)}
}

// WithGroup is of slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	return &Handler{h.sink, h.inner.WithGroup(name)}
}

// Handle records a message.
func (h *Handler) Handle(ctx context.Context, record slog.Record) error {
	h.sink.mutex.Lock()
	defer h.sink.mutex.Unlock()
	h.sink.text.Reset()
	record.Time = time.Time{}
	if err := h.inner.Handle(ctx, record); err != nil {
		return err
	}
	err := h.sink.write(severity(record.Level), bytes.TrimSuffix(h.sink.text.Bytes(), []byte("\n")))
	if err != nil {
		h.sink.refused++
	}
	return err
}

// Close lets go of the channel, also of the handlers made of this one.
func (h *Handler) Close() error {
	h.sink.mutex.Lock()
	defer h.sink.mutex.Unlock()
	writer := h.sink.writer
	h.sink.writer = nil
	if writer == nil {
		return nil
	}
	return writer.Close()
}

func (s *sink) write(severity int, text []byte) error {
	if s.writer == nil {
		if time.Now().Before(s.retryAt) {
			return s.why
		}
		s.retryAt = time.Now().Add(retry)
		if s.writer, s.why = OpenWriter(s.channel); s.why != nil {
			return s.why
		}
	}
	for _, piece := range pieces(text) {
		err := s.writer.Write(severity, piece)
		if err == nil {
			continue
		}
		// Of these the next message may fare better.
		if !errors.Is(err, syscall.EDQUOT) && !errors.Is(err, syscall.ENOMEM) && !errors.Is(err, syscall.ENOBUFS) {
			s.writer.Close()
			s.writer, s.why = nil, err
		}
		return err
	}
	return nil
}

func severity(level slog.Level) int {
	switch {
	case level >= slog.LevelError+4:
		return Crit
	case level >= slog.LevelError:
		return Err
	case level >= slog.LevelWarn:
		return Warning
	case level >= slog.LevelInfo+2:
		return Notice
	case level >= slog.LevelInfo:
		return Info
	}
	return Debug
}

// pieces cuts text into what fits into records, not within a character.
func pieces(text []byte) [][]byte {
	most := PayloadMax - 3
	if len(text) <= most {
		return [][]byte{text}
	}
	most -= len("[99999/99999] ")
	var parts [][]byte
	for len(text) > 0 {
		end := min(most, len(text))
		for end < len(text) && end > most-utf8.UTFMax+1 && !utf8.RuneStart(text[end]) {
			end--
		}
		parts = append(parts, text[:end])
		text = text[end:]
	}
	for n, part := range parts {
		parts[n] = append([]byte(fmt.Sprintf("[%d/%d] ", n+1, len(parts))), part...)
	}
	return parts
}
