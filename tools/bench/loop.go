package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Loop is a loop device that this program made, over a file of its own.
type Loop struct {
	Node  string // as /dev/loop7
	File  string
	Size  int64
	minor uint32
	dev   uint64 // device and inode of File
	inode uint64
}

const loopMajor = 7

// loopBlock is the logical block: what direct I/O on memory files takes.
const loopBlock = 4096

// attach makes a loop device with direct I/O over a file.
func attach(file string) (Loop, error) {
	backing, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return Loop{}, err
	}
	defer func() { _ = backing.Close() }() // the device holds the file from here on
	var st unix.Stat_t
	if err := unix.Fstat(int(backing.Fd()), &st); err != nil {
		return Loop{}, fmt.Errorf("stat %s: %w", file, err)
	}
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return Loop{}, err
	}
	defer func() { _ = control.Close() }() // nothing was written
	// Another process may take the free device first.
	for range 20 {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return Loop{}, fmt.Errorf("ask for a free loop device: %w", err)
		}
		l := Loop{Node: fmt.Sprintf("/dev/loop%d", n), File: file, Size: st.Size, minor: uint32(n), dev: st.Dev, inode: st.Ino}
		device, err := os.OpenFile(l.Node, os.O_RDWR, 0)
		if err != nil {
			return Loop{}, err
		}
		config := unix.LoopConfig{Fd: uint32(backing.Fd()), Size: loopBlock, Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_DIRECT_IO}}
		err = unix.IoctlLoopConfigure(int(device.Fd()), &config)
		closed := device.Close()
		if errors.Is(err, unix.EBUSY) {
			continue
		}
		if err := errors.Join(err, closed); err != nil {
			return Loop{}, fmt.Errorf("make %s of %s: %w", l.Node, file, err)
		}
		if err := l.Own(); err != nil {
			return Loop{}, errors.Join(err, detach(l.minor, l.File))
		}
		return l, nil
	}
	return Loop{}, fmt.Errorf("make a loop device of %s: others took each free one: %w", file, unix.EBUSY)
}

// ErrNotOurs: the node is not the loop device that this program made. Nothing may be pointed at it.
var ErrNotOurs = errors.New("not a loop device that this program made")

// Own makes sure that the node still is the loop device over our file: by what the kernel says of the
// node's number before it is opened, and by the file's inode when it is.
func (l Loop) Own() error {
	if err := l.named(); err != nil {
		return err
	}
	device, err := os.Open(l.Node)
	if err != nil {
		return err
	}
	defer func() { _ = device.Close() }() // only asked
	info, err := unix.IoctlLoopGetStatus64(int(device.Fd()))
	if err != nil {
		return fmt.Errorf("%s: %w: %v", l.Node, ErrNotOurs, err)
	}
	if info.Device != l.dev || info.Inode != l.inode {
		return fmt.Errorf("%s: %w: its file is inode %d of device %d", l.Node, ErrNotOurs, info.Inode, info.Device)
	}
	return nil
}

// named is the part of Own that opens nothing.
func (l Loop) named() error {
	var st unix.Stat_t
	if err := unix.Lstat(l.Node, &st); err != nil {
		return fmt.Errorf("%s: %w: %v", l.Node, ErrNotOurs, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK || unix.Major(st.Rdev) != loopMajor || unix.Minor(st.Rdev) != l.minor {
		return fmt.Errorf("%s: %w: it is no block device of number %d:%d", l.Node, ErrNotOurs, loopMajor, l.minor)
	}
	backing, err := backingFile(l.minor)
	if err != nil {
		return fmt.Errorf("%s: %w: %v", l.Node, ErrNotOurs, err)
	}
	if backing != l.File || l.File == "" {
		return fmt.Errorf("%s: %w: it is over %q and not over %q", l.Node, ErrNotOurs, backing, l.File)
	}
	return nil
}

// Direct says whether the kernel really gave it direct I/O.
func (l Loop) Direct() bool {
	data, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/loop/dio", loopMajor, l.minor))
	return err == nil && strings.TrimSpace(string(data)) == "1"
}

func backingFile(minor uint32) (string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/loop/backing_file", loopMajor, minor))
	return strings.TrimSuffix(string(data), "\n"), err
}

// detach takes the file away from its loop device, and waits until it is gone: a program that was killed
// may still have it open for a moment. A node that has another file by now is left alone.
func detach(minor uint32, file string) error {
	ours := func() bool {
		backing, err := backingFile(minor)
		return err == nil && backing == file
	}
	if !ours() {
		return nil
	}
	node := fmt.Sprintf("/dev/loop%d", minor)
	device, err := os.Open(node)
	if err != nil {
		return err
	}
	err = unix.IoctlSetInt(int(device.Fd()), unix.LOOP_CLR_FD, 0)
	if closed := device.Close(); err == nil {
		err = closed
	}
	if err != nil && !errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("detach %s: %w", node, err)
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if !ours() {
			return nil
		}
	}
	return fmt.Errorf("detach %s: it is still in use", node)
}

// detachBelow detaches every loop device over a file in a directory of ours.
func detachBelow(dir string) error {
	found, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil || dir == "" {
		return err
	}
	for _, name := range found {
		number := strings.TrimPrefix(filepath.Base(filepath.Dir(filepath.Dir(name))), "loop")
		minor, convErr := strconv.ParseUint(number, 10, 20)
		if convErr != nil {
			continue
		}
		// One that went away meanwhile is nobody's.
		backing, readErr := backingFile(uint32(minor))
		if readErr != nil || !strings.HasPrefix(backing, dir+"/") {
			continue
		}
		err = errors.Join(err, detach(uint32(minor), backing))
	}
	return err
}
