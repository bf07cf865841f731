package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices/devicetest"
	"github.com/expunge-dev/expunge/devices/virtual"
)

var canary = []byte("CUSTOMER-DATA-7f3a;")

// serialOf finds what a node is listed as.
func serialOf(t *testing.T, state, node string) (serial, stateWord string) {
	t.Helper()
	var list listDocument
	call(t, exitOK, &list, "list", "--state", state)
	for _, d := range list.Items {
		for _, n := range d.Nodes {
			if n == node {
				return d.Serial, d.State
			}
		}
	}
	t.Fatalf("%s is not listed", node)
	return "", ""
}

// The main job on a real block device, seen from the medium.
func TestLoopDeviceFromListToCertificate(t *testing.T) {
	const size = 24 << 20
	node, file := devicetest.Loop(t, size, canary)
	state := filepath.Join(t.TempDir(), "state")
	serial, word := serialOf(t, state, node)
	if word != "ready" {
		t.Fatalf("%s is %s", node, word)
	}
	plan := filepath.Join(t.TempDir(), "plan.json")
	var planned planDocument
	call(t, exitOK, &planned, "plan", serial, "-o", plan, "--state", state)
	var ran runDocument
	call(t, exitOK, &ran, "run", "--plan", plan, "--confirm", planned.Result.Digest, "--state", state)
	d := ran.Result.Drives[0]
	if d.Outcome != "sanitized" || d.Method != "clear" {
		t.Fatalf("%+v", d)
	}
	medium, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(medium, canary); n > 0 {
		t.Fatalf("%d canaries are left", n)
	}
	regenerate(t, filepath.Join(filepath.Dir(d.Certificate), "secrets"), medium)

	key := filepath.Join(state, "keys/host.pub")
	call(t, exitOK, nil, "verify", d.Certificate, "--trust", key)
	data, err := os.ReadFile(d.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	trust := trustOf(t, key)
	for range 500 {
		flipped, i := bytes.Clone(data), rand.IntN(len(data))
		flipped[i] ^= byte(1 << rand.IntN(8))
		if r := attest.Verify(flipped, trust); r.Code != attest.CodeInvalid {
			t.Fatalf("byte %d of the certificate was changed: code %d", i, r.Code)
		}
	}
}

// regenerate makes blocks of the stream with openssl alone.
func regenerate(t *testing.T, secrets string, medium []byte) {
	t.Helper()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Log("openssl is not installed: the stream was not regenerated")
		return
	}
	data, err := os.ReadFile(secrets)
	if err != nil {
		t.Fatal(err)
	}
	var keys struct{ Keys map[string]string }
	if err := json.Unmarshal(data, &keys); err != nil {
		t.Fatal(err)
	}
	for _, off := range []int{0, 4096, 7<<20 + 512, len(medium) - 4096} {
		cmd := exec.CommandContext(t.Context(), openssl, "enc", "-aes-256-ctr", "-K", keys.Keys["1"], "-iv", fmt.Sprintf("%032x", off/16))
		cmd.Stdin = bytes.NewReader(make([]byte, 4096))
		want, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(medium[off:off+4096], want) {
			t.Fatalf("the medium at %d is not what openssl makes", off)
		}
	}
}

func TestMountedLoopDeviceIsUntouched(t *testing.T) {
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		t.Skip("mkfs.ext4 is not installed: no file system can be mounted")
	}
	node, file := devicetest.Loop(t, 16<<20, nil)
	if out, err := exec.CommandContext(t.Context(), mkfs, "-q", node).CombinedOutput(); err != nil {
		t.Fatalf("mkfs: %v %s", err, out)
	}
	state := filepath.Join(t.TempDir(), "state")
	serial, _ := serialOf(t, state, node)
	plan := filepath.Join(t.TempDir(), "plan.json")
	var planned planDocument
	call(t, exitOK, &planned, "plan", serial, "-o", plan, "--state", state)

	point := t.TempDir()
	if err := syscall.Mount(node, point, "ext4", 0, ""); err != nil {
		t.Skipf("ext4 cannot be mounted here: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(point, 0); err != nil {
			t.Error(err)
		}
	}()
	if err := os.WriteFile(filepath.Join(point, "precious"), canary, 0o600); err != nil {
		t.Fatal(err)
	}
	syscall.Sync()
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, word := serialOf(t, state, node); word != "in_use" {
		t.Fatalf("a mounted drive is %s", word)
	}
	call(t, exitRefused, nil, "run", serial, "--confirm", serial, "--state", state)
	call(t, exitRefused, nil, "run", node, "--confirm", serial, "--state", state)
	call(t, exitRefused, nil, "run", "--plan", plan, "--confirm", planned.Result.Digest, "--state", state)
	after, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Fatal("a mounted drive was written to")
	}
}

// The drive that this machine runs from is refused, whatever it is. It is never opened.
func TestSystemDriveIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("uses can be determined as root only")
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	node := ""
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) > 4 && f[4] == "/" {
			if link, err := os.Readlink("/sys/dev/block/" + f[2]); err == nil {
				node = "/dev/" + filepath.Base(link)
			}
		}
	}
	if node == "" {
		t.Skip("/ is on no block device here")
	}
	state := filepath.Join(t.TempDir(), "state")
	call(t, exitRefused, nil, "plan", node, "--state", state)
	call(t, exitRefused, nil, "run", node, "--confirm", node, "--state", state)
}

// A process that is killed loses nothing that it had said: the job goes on to a right end.
func TestKilledAtRandomMomentsOverLoop(t *testing.T) {
	const size = 48 << 20
	node, file := devicetest.Loop(t, size, canary)
	state := filepath.Join(t.TempDir(), "state")
	serial, _ := serialOf(t, state, node)
	killed, took := 0, time.Duration(0)
	for n := range 21 {
		if err := os.WriteFile(file, bytes.Repeat(canary, size/len(canary)+1)[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		d, was := killAndResume(t, n, &took, state, serial, "--state", state)
		killed += was
		medium, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if left := bytes.Count(medium, canary); d != "sanitized" || left > 0 {
			t.Fatalf("kill %d: outcome %s, %d canaries left", n, d, left)
		}
	}
	if killed == 0 {
		t.Fatal("no run was killed in its middle: the test shows nothing")
	}
}

func TestKilledAtRandomMomentsOverRack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rack")
	rack, err := virtual.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	killed, took := 0, time.Duration(0)
	for n := range 21 {
		serial := fmt.Sprintf("KILL-%d", n)
		if _, err := rack.Add(virtual.Spec{Serial: serial, SizeBytes: 24 << 20}); err != nil {
			t.Fatal(err)
		}
		if err := rack.Populate(serial, canary); err != nil {
			t.Fatal(err)
		}
		d, was := killAndResume(t, n, &took, filepath.Join(dir, "agent"), serial, "--rack", dir)
		killed += was
		medium, err := rack.Medium(serial)
		if err != nil {
			t.Fatal(err)
		}
		left, _, err := medium.CountCanary(canary)
		if err != nil || d != "sanitized" || left > 0 {
			t.Fatalf("kill %d: outcome %s, %d canaries left, %v", n, d, left, err)
		}
	}
	if killed == 0 {
		t.Fatal("no run was killed in its middle: the test shows nothing")
	}
}

// killAndResume runs a job, kills it at the n-th of twenty moments between its first journal record
// and its end, and resumes it. took is how long that is; the first run measures it. It returns
// the outcome, and 1 when the job had begun and had not ended.
func killAndResume(t *testing.T, n int, took *time.Duration, state, serial string, where ...string) (outcome string, killed int) {
	t.Helper()
	plan := filepath.Join(t.TempDir(), fmt.Sprintf("plan-%d.json", n))
	var planned planDocument
	call(t, exitOK, &planned, append([]string{"plan", serial, "-o", plan}, where...)...)
	run := append([]string{"run", "--plan", plan, "--confirm", planned.Result.Digest}, where...)
	cmd := program(t, run...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	err, running := untilJournal(filepath.Join(state, "jobs", "j-"+planned.Result.Digest[:12], "*", "journal"), ended)
	begun := time.Now()
	switch {
	case running && *took == 0:
		err = <-ended
		*took = time.Since(begun)
	case running:
		select {
		case err = <-ended:
		case <-time.After(time.Duration(float64(*took) * (float64(n) + rand.Float64()) / 20)):
			_ = cmd.Process.Kill() // it may have ended just now
			err = <-ended
		}
	}
	var ran runDocument
	call(t, exitOK, &ran, run...)
	d := ran.Result.Drives[0]
	call(t, exitOK, nil, append([]string{"verify", "--allow-simulated", d.Certificate}, where...)...)
	if err != nil && d.Attempts > 1 {
		killed = 1
	}
	return d.Outcome, killed
}

// untilJournal waits until a job's journal is there, or the program has ended.
func untilJournal(pattern string, ended <-chan error) (err error, running bool) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return err, false
		case <-tick.C:
			if found, _ := filepath.Glob(pattern); len(found) > 0 {
				return nil, true
			}
		}
	}
}
