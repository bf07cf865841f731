package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// Every program is told which drives, all of them and no others: there are programs that take none for all.
func TestCommandsNameTheirDrives(t *testing.T) {
	s := &set{loops: []Loop{{Node: "/dev/loop91", Size: 8 << 20}, {Node: "/dev/loop92", Size: 8 << 20}}}
	list := slices.Concat(fio("fio", "io_uring"), fio("fio", "libaio"), dd("dd"), shred("shred"), scrub("scrub"),
		nwipe("nwipe", "--prng=METHOD (mersenne|twister|isaac|isaac64) --PDFreportpath=PATH", false))
	if len(list) < 9 {
		t.Fatalf("%d tools", len(list))
	}
	for _, tool := range list {
		did := 0
		for _, pass := range passes {
			if !tool.does(pass) {
				continue
			}
			did++
			named := map[string]int{}
			for _, words := range tool.commands(s, pass) {
				for _, w := range words {
					if at := strings.Index(w, "/dev/loop"); at >= 0 {
						named[w[at:]]++
					}
				}
			}
			if len(named) != 2 || named["/dev/loop91"] != 1 || named["/dev/loop92"] != 1 {
				t.Errorf("%s, %s: %v", tool.name, pass, tool.commands(s, pass))
			}
		}
		if did == 0 {
			t.Errorf("%s does nothing", tool.name)
		}
	}
}

func TestWithoutADriveNothingIsStarted(t *testing.T) {
	for name, words := range map[string][]string{
		"none":        {"nwipe", "--autonuke"},
		"another":     {"nwipe", "--autonuke", "/dev/loop9"},
		"longer name": {"nwipe", "--autonuke", "/dev/loop911"},
	} {
		s := &set{loops: []Loop{{Node: "/dev/loop91"}}} // without a cell: a start would not end
		if _, err := s.runAll(t.Context(), [][]string{words}, &watch{}); !errors.Is(err, ErrNotOurs) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNwipeGeneratorsAreThoseOfTheBuild(t *testing.T) {
	names := func(help string, quick bool) (list []string) {
		for _, tool := range nwipe("/nonexistent/nwipe", help, quick) {
			list = append(list, tool.name)
		}
		return list
	}
	if got := names("(mersenne|twister|isaac|isaac64)", false); !slices.Equal(got, []string{"nwipe", "nwipe isaac64", "nwipe twister"}) {
		t.Errorf("%q", got)
	}
	if got := names("twister splitmix64 chacha20", false); !slices.Equal(got, []string{"nwipe", "nwipe splitmix64", "nwipe chacha20"}) {
		t.Errorf("%q", got)
	}
	if got := names("splitmix64 aes_ctr_prng chacha20", true); !slices.Equal(got, []string{"nwipe", "nwipe splitmix64"}) {
		t.Errorf("%q", got)
	}
}
