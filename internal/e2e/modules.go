package e2e

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// modules are a kernel's loadable modules by name, below a directory of its package. A package that
// was unpacked and not installed has no modules.dep; each module names those it needs in .modinfo.
type modules struct {
	files   map[string]string
	builtin map[string]bool
}

// readModules lists the modules of the only kernel below dir.
func readModules(dir string) (modules, error) {
	m := modules{map[string]string{}, map[string]bool{}}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		base, isModule := strings.CutSuffix(strings.TrimSuffix(e.Name(), ".xz"), ".ko")
		switch {
		case isModule:
			m.files[moduleName(base)] = name
		case e.Name() == "modules.builtin":
			data, err := os.ReadFile(name)
			for line := range strings.Lines(string(data)) {
				m.builtin[moduleName(strings.TrimSuffix(filepath.Base(strings.TrimSpace(line)), ".ko"))] = true
			}
			return err
		}
		return nil
	})
	return m, err
}

// moduleName: the kernel takes "-" and "_" for the same.
func moduleName(s string) string { return strings.ReplaceAll(s, "-", "_") }

// module is one that is to be loaded.
type module struct {
	name string
	data []byte
}

// order lists the named modules and all they need, each after those that it needs. What is built into
// the kernel is left out; what it does not have at all is an error.
func (m modules) order(names ...string) ([]module, error) {
	var list []module
	seen := map[string]bool{}
	var visit func(name string) error
	visit = func(name string) error {
		name = moduleName(name)
		if seen[name] || m.builtin[name] {
			return nil
		}
		seen[name] = true
		file, ok := m.files[name]
		if !ok {
			return fmt.Errorf("the kernel has no module %s", name)
		}
		data, err := readModule(file)
		if err != nil {
			return err
		}
		needs, err := dependencies(data)
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
		for _, n := range needs {
			if err := visit(n); err != nil {
				return err
			}
		}
		list = append(list, module{name, data})
		return nil
	}
	for _, n := range names {
		if err := visit(n); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// readModule reads a module, uncompressed.
func readModule(file string) ([]byte, error) {
	if !strings.HasSuffix(file, ".xz") {
		return os.ReadFile(file)
	}
	data, err := exec.Command("xz", "--decompress", "--stdout", file).Output()
	if err != nil {
		return nil, fmt.Errorf("uncompress %s: %w", file, err)
	}
	return data, nil
}

// dependencies are what a module's .modinfo says that it needs, and what it asks to have before it.
func dependencies(data []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("no section .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	var list []string
	for field := range strings.SplitSeq(string(info), "\x00") {
		if needs, ok := strings.CutPrefix(field, "depends="); ok && needs != "" {
			list = append(list, strings.Split(needs, ",")...)
		}
	}
	return list, nil
}
