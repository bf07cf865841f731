package e2e

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// libraryDirs are where loaders look for libraries without being told to; "" in an unpacked package is
// its root.
var libraryDirs = []string{"lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu", "lib64", "usr/lib64", "lib", "usr/lib",
	"lib/x86_64-linux-gnu/systemd", "usr/lib/x86_64-linux-gnu/systemd", "lib/aarch64-linux-gnu/systemd", "usr/lib/aarch64-linux-gnu/systemd"}

// peerTools are other people's programs for a guest, by where they go in it: each in /bin, with the
// loader and the libraries that it needs, out of the unpacked packages or else of this machine.
func peerTools(t *testing.T, names ...string) map[string]string {
	t.Helper()
	return toolsOf(t, need(t, "peers"), names...)
}

// toolsOf are programs out of a directory of unpacked packages.
func toolsOf(t *testing.T, root string, names ...string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, name := range names {
		file, err := findFile(root, name, "sbin", "usr/sbin", "bin", "usr/bin")
		if err != nil {
			t.Skipf("%v: run internal/e2e/packages.sh", err)
		}
		files["bin/"+name] = file
		if err := libraries(files, root, file); err != nil {
			t.Skipf("%s: %v", name, err)
		}
	}
	return files
}

// findFile is the file of a name in one of the directories below a root.
func findFile(root, name string, dirs ...string) (string, error) {
	for _, d := range dirs {
		file := filepath.Join(root, d, name)
		if _, err := os.Stat(file); err == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("%s in %s: %w", name, root, fs.ErrNotExist)
}

// libraries adds what a program or a library is linked with, and what that is linked with. Each keeps
// the directory that it lies in, for there the loader looks.
func libraries(files map[string]string, root, program string) error {
	f, err := elf.Open(program)
	if err != nil {
		return err
	}
	defer f.Close()
	names, err := f.ImportedLibraries()
	if err != nil {
		return err
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		loader := make([]byte, p.Filesz)
		if _, err := p.ReadAt(loader, 0); err != nil {
			return err
		}
		at := strings.TrimPrefix(strings.TrimRight(string(loader), "\x00"), "/")
		files[at] = "/" + at
	}
	for _, name := range names {
		file, from := "", root
		if file, err = findFile(root, name, libraryDirs...); errors.Is(err, fs.ErrNotExist) {
			from = "/"
			file, err = findFile(from, name, libraryDirs...)
		}
		if err != nil {
			return err
		}
		at, err := filepath.Rel(from, file)
		if err != nil {
			return err
		}
		if files[at] != "" {
			continue
		}
		files[at] = file
		if err := libraries(files, root, file); err != nil {
			return err
		}
	}
	return nil
}
