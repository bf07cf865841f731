package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What guests do with block devices by hand, so that they need no programs of others for it.
func init() {
	builtins["copy"] = func(args []string) ([]byte, error) { return nil, copyFile(args[0], args[1]) }
	builtins["mkdir"] = func(args []string) ([]byte, error) { return nil, os.MkdirAll(args[0], 0o755) }
	builtins["bind"] = func(args []string) ([]byte, error) {
		if info, err := os.Stat(args[0]); err != nil {
			return nil, err
		} else if info.IsDir() {
			err = os.MkdirAll(args[1], 0o755)
			return nil, errors.Join(err, syscall.Mount(args[0], args[1], "", syscall.MS_BIND, ""))
		}
		if err := os.MkdirAll(filepath.Dir(args[1]), 0o755); err != nil {
			return nil, err
		}
		f, err := os.OpenFile(args[1], os.O_CREATE|os.O_RDONLY, 0o755)
		if err != nil {
			return nil, err
		}
		return nil, errors.Join(f.Close(), syscall.Mount(args[0], args[1], "", syscall.MS_BIND, ""))
	}
	builtins["readonly"] = func(args []string) ([]byte, error) {
		return nil, syscall.Mount("", args[0], "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
	}
	builtins["swapon"] = func(args []string) ([]byte, error) {
		name, err := unix.BytePtrFromString(args[0])
		if err != nil {
			return nil, err
		}
		if _, _, errno := unix.Syscall(unix.SYS_SWAPON, uintptr(unsafe.Pointer(name)), 0, 0); errno != 0 {
			return nil, errno
		}
		return nil, nil
	}
	builtins["rereadpt"] = func(args []string) ([]byte, error) {
		f, err := os.Open(args[0])
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return nil, unix.IoctlSetInt(int(f.Fd()), unix.BLKRRPART, 0)
	}
	builtins["loop"] = func(args []string) ([]byte, error) { return loopDevice(args[0], len(args) > 1) }
	// dm NAME UUID TABLE…: a device mapper device of lines "start length target arguments".
	builtins["dm"] = func(args []string) ([]byte, error) { return nil, deviceMapper(args[0], args[1], args[2:]) }
	builtins["dmmessage"] = func(args []string) ([]byte, error) { return nil, dmMessage(args[0], strings.Join(args[1:], " ")) }
	// md NODE…: a mirror of nodes, without metadata.
	builtins["md"] = func(args []string) ([]byte, error) { return nil, mirror(args) }
	// apart COMMAND…: a process of its own in a mount namespace of its own, for as long as the guest lives.
	builtins["apart"] = func(args []string) ([]byte, error) {
		c := exec.Command("/init", append([]string{"apart"}, args...)...)
		c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		out, err := c.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := c.Start(); err != nil {
			return nil, err
		}
		said := make([]byte, 200)
		n, err := out.Read(said)
		if err != nil || string(said[:n]) != "ready" {
			return said[:n], fmt.Errorf("a process apart: %w %s", err, said[:n])
		}
		return nil, nil
	}
	builtins["chroot"] = func(args []string) ([]byte, error) {
		c := exec.Command(args[1], args[2:]...)
		c.SysProcAttr = &syscall.SysProcAttr{Chroot: args[0]}
		c.Dir = "/"
		out, err := c.CombinedOutput()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return append(out, fmt.Sprintf("\nexit %d", exit.ExitCode())...), nil
		}
		return out, err
	}
}

// apart mounts something where nobody else sees it, and waits for ever.
func apart(args []string) {
	err := errors.Join(syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""), os.MkdirAll(args[2], 0o755), syscall.Mount(args[1], args[2], args[0], 0, ""))
	if err != nil {
		fmt.Print(err)
		return
	}
	fmt.Print("ready")
	for {
		time.Sleep(time.Hour)
	}
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// The requests of device mapper (linux/dm-ioctl.h).
const (
	dmDevCreate     = 0xc138fd03
	dmDevSuspend    = 0xc138fd06
	dmTableLoad     = 0xc138fd09
	dmTargetMessage = 0xc138fd0e
	dmHeader        = 312
	dmTargetHeader  = 40
)

// deviceMapper makes a device, loads its table and lets it run.
func deviceMapper(name, uuid string, table []string) error {
	le := binary.LittleEndian
	var targets []byte
	for _, line := range table {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			return fmt.Errorf("table line %q", line)
		}
		start, errA := strconv.ParseUint(fields[0], 10, 64)
		length, errB := strconv.ParseUint(fields[1], 10, 64)
		if err := errors.Join(errA, errB); err != nil {
			return err
		}
		arguments := strings.Join(fields[3:], " ")
		spec := make([]byte, (dmTargetHeader+len(arguments)+1+7)/8*8)
		le.PutUint64(spec, start)
		le.PutUint64(spec[8:], length)
		le.PutUint32(spec[20:], uint32(len(spec)))
		copy(spec[24:40], fields[2])
		copy(spec[40:], arguments)
		targets = append(targets, spec...)
	}
	if err := dmRequest(dmDevCreate, name, uuid, nil, 0); err != nil {
		return err
	}
	if err := dmRequest(dmTableLoad, name, "", targets, uint32(len(table))); err != nil {
		return err
	}
	return dmRequest(dmDevSuspend, name, "", nil, 0) // without its flag it resumes
}

// dmMessage says something to the first target of a device.
func dmMessage(name, text string) error {
	return dmRequest(dmTargetMessage, name, "", append(make([]byte, 8), text+"\x00"...), 0)
}

func dmRequest(request uintptr, name, uuid string, data []byte, targets uint32) error {
	control, err := dmControl()
	if err != nil {
		return err
	}
	defer control.Close()
	le := binary.LittleEndian
	b := make([]byte, max(16<<10, dmHeader+len(data)))
	le.PutUint32(b, 4)
	le.PutUint32(b[12:], uint32(len(b)))
	le.PutUint32(b[16:], dmHeader)
	le.PutUint32(b[20:], targets)
	copy(b[48:176], name)
	copy(b[176:305], uuid)
	copy(b[dmHeader:], data)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, control.Fd(), request, uintptr(unsafe.Pointer(&b[0]))); errno != 0 {
		return fmt.Errorf("device mapper %#x: %w", request, errno)
	}
	return nil
}

// The requests of md (linux/raid/md_u.h).
const (
	mdAddNewDisk   = 0x40140921
	mdSetArrayInfo = 0x40480923
	mdRunArray     = 0x400c0930
)

// mirror makes /dev/md0 of nodes, as mdadm --build does: nothing is written to them for that.
func mirror(nodes []string) error {
	if err := syscall.Mknod("/dev/md0", syscall.S_IFBLK|0o600, 9<<8); err != nil && !errors.Is(err, syscall.EEXIST) {
		return err
	}
	md, err := os.OpenFile("/dev/md0", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer md.Close()
	say := func(request uintptr, words ...uint32) error {
		b := make([]byte, 128)
		for i, w := range words {
			binary.LittleEndian.PutUint32(b[4*i:], w)
		}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, md.Fd(), request, uintptr(unsafe.Pointer(&b[0]))); errno != 0 {
			return fmt.Errorf("md %#x: %w", request, errno)
		}
		return nil
	}
	n := uint32(len(nodes))
	// Version 0.90, RAID 1, 4 MiB, without superblocks; clean.
	if err := say(mdSetArrayInfo, 0, 90, 0, 0, 1, 4<<10, n, n, 0, 1, 0, 1, n, n, 0, 0); err != nil {
		return err
	}
	for i, node := range nodes {
		var st unix.Stat_t
		if err := unix.Stat(node, &st); err != nil {
			return err
		}
		// Active and in sync.
		if err := say(mdAddNewDisk, uint32(i), unix.Major(st.Rdev), unix.Minor(st.Rdev), uint32(i), 1<<1|1<<2); err != nil {
			return err
		}
	}
	return say(mdRunArray, 0, 0, 0)
}

// dmControl opens the control device, whose number the kernel tells.
func dmControl() (*os.File, error) {
	if f, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0); err == nil {
		return f, nil
	}
	misc, err := os.ReadFile("/proc/misc")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(misc)) {
		var minor int
		var name string
		if n, _ := fmt.Sscan(line, &minor, &name); n == 2 && name == "device-mapper" {
			if err := errors.Join(os.MkdirAll("/dev/mapper", 0o755), syscall.Mknod("/dev/mapper/control", syscall.S_IFCHR|0o600, 10<<8|minor)); err != nil {
				return nil, err
			}
		}
	}
	return os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
}

// loopDevice makes a loop device of a file or another device, with or without the cache of what is below,
// and says which.
func loopDevice(file string, direct bool) ([]byte, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("/dev/loop%d", n)
	loop, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer loop.Close()
	back, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer back.Close()
	if err := unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_SET_FD, int(back.Fd())); err != nil {
		return nil, err
	}
	if !direct {
		return []byte(name), nil
	}
	return []byte(name), unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_SET_DIRECT_IO, 1)
}
