// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package handover gives a node agent's listening sockets and cache to the process that takes its place, so that an
// upgrade refuses no request; and keeps the cache over a restart in place.
//
// It owns a Unix socket and a folder that only the agent's own user may enter, one socket for each network
// namespace, the messages on it, and a sealed file on memory. It refuses folders of others, peers of another user, messages of another version, and to write credentials
// anywhere but to memory. In the flow it stands below the agent, which decides what is given and when.
package handover

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// version is that of the messages. Who speaks another is told so, and does without.
	version = 1
	// exchangeTime bounds the giving and taking.
	exchangeTime = 10 * time.Second
	maxFrame     = 1 << 20
	maxSockets   = 64
	taken        = 'T'
)

// ErrNobody says that no agent serves on this node, or none that hands over.
var ErrNobody = errors.New("nobody hands over")

// Parcel is what goes to the successor, beside the records.
type Parcel struct {
	// Cluster says whose credentials the records hold; a successor of another one wants the sockets only.
	Cluster string
	// Key is that with which the agent knows its own answers.
	Key []byte
	// FeedUID and FeedRevision are where the feed of associations is read on.
	FeedUID      string
	FeedRevision int64
	// Sockets are listening, by name.
	Sockets map[string]*net.TCPListener
}

// String hides the key.
func (p Parcel) String() string { return "parcel of " + p.Cluster }

type helloJSON struct {
	Version int `json:"version"`
}

type headerJSON struct {
	Version      int      `json:"version"`
	Cluster      string   `json:"cluster"`
	Key          []byte   `json:"key,omitempty"`
	FeedUID      string   `json:"feedUid,omitempty"`
	FeedRevision int64    `json:"feedRevision,omitempty"`
	Sockets      []string `json:"sockets"`
	Error        string   `json:"error,omitempty"`
}

// Folder makes the folder its user's alone, and refuses one that is somebody else's.
func Folder(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("look at folder: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s is no folder", path)
	case !ok || int(owner.Uid) != os.Geteuid():
		return fmt.Errorf("folder %s belongs to another user", path)
	case info.Mode().Perm()&0o077 == 0:
		return nil
	}
	if err := os.Chmod(path, 0o700); err != nil {
		return fmt.Errorf("close folder to others: %w", err)
	}
	return nil
}

// nameHere is a name of this network's: nodes that share a folder, as those made of containers may, do not share sockets.
func nameHere(what, kind string) string { return what + "-" + network() + "." + kind }

// Tie holds the successor to the process before it: while it is open, that one stands by.
type Tie struct{ conn *net.UnixConn }

// Taken tells the process before that this one answers now.
func (t *Tie) Taken() error {
	_, err := t.conn.Write([]byte{taken})
	return err
}

// Close lets the process before go on, if it has not been told to end.
func (t *Tie) Close() error { return t.conn.Close() }

// Ask takes over from the process that serves on this node: record is called with each record, and the parcel comes with
// a tie, which is to be closed at the end. ErrNobody: there is none.
func Ask(ctx context.Context, folder string, record func([]byte) error) (*Parcel, *Tie, error) {
	if err := Folder(folder); err != nil {
		return nil, nil, err
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", filepath.Join(folder, nameHere("agent", "sock")))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, nil, ErrNobody
	} else if err != nil {
		return nil, nil, fmt.Errorf("ask for a hand-over: %w", err)
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return nil, nil, errors.Join(errors.New("ask for a hand-over: no Unix socket"), c.Close())
	}
	parcel, err := take(conn, record)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("take over: %w", err), conn.Close())
	}
	return parcel, &Tie{conn}, nil
}

func take(conn *net.UnixConn, record func([]byte) error) (_ *Parcel, err error) {
	if err := sameUser(conn); err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(exchangeTime)); err != nil {
		return nil, err
	}
	hello, err := json.Marshal(helloJSON{version})
	if err != nil {
		return nil, err
	}
	if err := writeFrame(conn, hello); err != nil {
		return nil, err
	}
	// Descriptors come with the first bytes, whatever number of bytes these are.
	first, oob := make([]byte, 4<<10), make([]byte, unix.CmsgSpace(4*maxSockets))
	n, oobn, flags, _, err := conn.ReadMsgUnix(first, oob)
	if err != nil {
		return nil, err
	}
	files, err := descriptors(oob[:oobn])
	defer func() {
		for _, f := range files {
			err = errors.Join(err, f.Close())
		}
	}()
	if err != nil || flags&unix.MSG_CTRUNC != 0 {
		return nil, errors.Join(errors.New("descriptors got lost"), err)
	}
	from := bufio.NewReader(io.MultiReader(&sliceReader{first[:n]}, conn))
	parcel, err := readParcel(from, files)
	if err != nil {
		return nil, err
	}
	if err := readRecords(from, record); err != nil {
		return nil, errors.Join(err, parcel.close())
	}
	return parcel, conn.SetDeadline(time.Time{})
}

// sliceReader reads what was read before.
type sliceReader struct{ rest []byte }

// Read implements io.Reader.
func (r *sliceReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// descriptors are the files that a message carries.
func descriptors(oob []byte) ([]*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return files, err
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "handed over"))
		}
	}
	return files, nil
}

func readParcel(from io.Reader, files []*os.File) (*Parcel, error) {
	text, err := readFrame(from)
	if err != nil {
		return nil, err
	}
	var h headerJSON
	if err := json.Unmarshal(text, &h); err != nil {
		return nil, errors.New("the header cannot be read")
	}
	switch {
	case h.Error != "":
		return nil, fmt.Errorf("the process before refuses: %.200s", h.Error)
	case h.Version != version:
		return nil, fmt.Errorf("the process before speaks version %d, this one %d", h.Version, version)
	case len(h.Sockets) != len(files):
		return nil, fmt.Errorf("%d sockets are named, %d came", len(h.Sockets), len(files))
	}
	p := &Parcel{Cluster: h.Cluster, Key: h.Key, FeedUID: h.FeedUID, FeedRevision: h.FeedRevision, Sockets: map[string]*net.TCPListener{}}
	for i, name := range h.Sockets {
		l, err := net.FileListener(files[i]) // a duplicate: the file is closed after
		if err != nil {
			return nil, errors.Join(fmt.Errorf("socket %q: %w", name, err), p.close())
		}
		socket, ok := l.(*net.TCPListener)
		if !ok || p.Sockets[name] != nil {
			return nil, errors.Join(fmt.Errorf("socket %q: not one of TCP, or there twice", name), l.Close(), p.close())
		}
		p.Sockets[name] = socket
	}
	return p, nil
}

func (p *Parcel) close() (err error) {
	for _, s := range p.Sockets {
		err = errors.Join(err, s.Close())
	}
	return err
}

func readRecords(from io.Reader, record func([]byte) error) error {
	for {
		text, err := readFrame(from)
		if err != nil || len(text) == 0 {
			return err
		}
		if err := record(text); err != nil {
			return fmt.Errorf("take over a record: %w", err)
		}
	}
}

// writeFrame sends a length and so many bytes; no bytes are the end of a list.
func writeFrame(to io.Writer, text []byte) error {
	_, err := to.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(text)), uint32(len(text))), text...))
	return err
}

func readFrame(from io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > maxFrame {
		return nil, fmt.Errorf("a message of %d bytes", n)
	}
	text := make([]byte, n)
	_, err := io.ReadFull(from, text)
	return text, err
}
