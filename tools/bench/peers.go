package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// The command lines of other programs. What they write goes to every byte of the drives and is on them
// when they end; each is used in the way that suits it best of those that do.

// fioEngine is io_uring, or libaio where the kernel refuses that.
func fioEngine(ctx context.Context, path, work string) string {
	probe := exec.CommandContext(ctx, path, "--name=probe", "--filename="+filepath.Join(work, "fio-probe"),
		"--size=64k", "--bs=4k", "--rw=write", "--ioengine=io_uring", "--thread")
	if probe.Run() != nil {
		return "libaio"
	}
	return "io_uring"
}

func fio(path, engine string) []tool {
	var list []tool
	for _, registered := range []bool{true, false} {
		name, more := "fio "+engine, []string{}
		if registered {
			if engine != "io_uring" {
				continue
			}
			name, more = name+" registered", []string{"--fixedbufs=1", "--registerfiles=1"}
		}
		list = append(list, program(name, byDrives, func(s *set, pass Pass) [][]string {
			words := []string{path, "--rw=write", "--direct=1", "--ioengine=" + engine, "--bs=1M", "--iodepth=8", "--thread", "--end_fsync=1"}
			switch pass {
			case Zeros:
				words = append(words, "--zero_buffers=1")
			case Random:
				words = append(words, "--refill_buffers=1") // the same buffers again and again would be no random data
			case Verify:
				return nil // its checksums take the place of the data
			}
			words = append(words, more...)
			for i, node := range s.nodes() {
				words = append(words, fmt.Sprintf("--name=drive%d", i), "--filename="+node)
			}
			return [][]string{words}
		}))
	}
	return list
}

func dd(path string) []tool {
	return []tool{program("dd direct 4M", byProcess, func(s *set, pass Pass) [][]string {
		source := map[Pass]string{Zeros: "/dev/zero", Random: "/dev/urandom"}[pass]
		if source == "" {
			return nil
		}
		return s.each(func(l Loop) []string {
			return []string{path, "if=" + source, "of=" + l.Node, "bs=4M", fmt.Sprintf("count=%d", l.Size>>22),
				"iflag=fullblock", "oflag=direct", "conv=notrunc,nocreat,fsync"}
		})
	})}
}

func shred(path string) []tool {
	return []tool{program("shred", byProcess, func(s *set, pass Pass) [][]string {
		how := map[Pass][]string{Zeros: {"-n0", "-z"}, Random: {"-n1"}}[pass]
		if how == nil {
			return nil
		}
		return s.each(func(l Loop) []string { return append(append([]string{path}, how...), l.Node) })
	})}
}

func scrub(path string) []tool {
	return []tool{program("scrub", byProcess, func(s *set, pass Pass) [][]string {
		pattern := map[Pass]string{Zeros: "fillzero", Random: "random"}[pass]
		if pattern == "" {
			return nil
		}
		return s.each(func(l Loop) []string { return []string{path, "-S", "-f", "-p", pattern, l.Node} })
	})}
}

// nwipeGenerators are those of interest: those made for cryptography, and the fastest, which is twister where
// splitmix64 is not known.
var nwipeGenerators = []string{"splitmix64", "aes_ctr_prng", "isaac64", "chacha20", "twister"}

// nwipe has a row for each generator; what this build knows is in its help.
func nwipe(path, help string, quick bool) []tool {
	label := "nwipe"
	if _, number, ok := strings.Cut(version(context.Background(), path), "version "); ok {
		label += " " + number
	}
	command := func(s *set, words ...string) [][]string {
		all := append([]string{path, "--autonuke", "--nogui", "--nowait", "--noblank", "--rounds=1"}, words...)
		if strings.Contains(help, "--PDFreportpath") {
			all = append(all, "--PDFreportpath=noPDF")
		}
		return [][]string{append(all, s.nodes()...)}
	}
	var known []string
	for _, generator := range nwipeGenerators {
		if strings.Contains(help, generator) && !(generator == "twister" && slices.Contains(known, "splitmix64")) {
			known = append(known, generator)
		}
	}
	list := []tool{program(label, byDrives, func(s *set, pass Pass) [][]string {
		if pass != Zeros {
			return nil
		}
		words := []string{"--method=zero", "--verify=off"}
		if len(known) > 0 {
			words = append(words, "--prng="+known[0]) // or newer ones measure all of theirs first
		}
		return command(s, words...)
	})}
	for _, generator := range known {
		list = append(list, program(label+" "+generator, byDrives, func(s *set, pass Pass) [][]string {
			switch pass {
			case Random:
				return command(s, "--method=prng", "--prng="+generator, "--verify=off")
			case Verify:
				return command(s, "--method=prng", "--prng="+generator, "--verify=all")
			}
			return nil
		}))
		if quick {
			break
		}
	}
	return list
}
