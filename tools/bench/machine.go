package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is where it was measured.
type Machine struct {
	CPU    string   `json:"cpu"`
	Flags  []string `json:"flags"` // of those that matter to the keystream
	Cores  int      `json:"cores"`
	Kernel string   `json:"kernel"`
	Go     string   `json:"go"`
	Load   string   `json:"load"` // before, over 1, 5 and 15 minutes
}

func machine() Machine {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version() + " " + runtime.GOARCH, CPU: "unknown", Kernel: "unknown", Load: "unknown"}
	// What cannot be told is said so; it decides nothing.
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.CPU = field(string(data), "model name")
		flags := " " + field(string(data), "flags") + " "
		for _, f := range []string{"aes", "avx2", "vaes", "vpclmulqdq", "avx512f", "avx512vl"} {
			if strings.Contains(flags, " "+f+" ") {
				m.Flags = append(m.Flags, f)
			}
		}
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = fmt.Sprintf("%s %s", unix.ByteSliceToString(name.Sysname[:]), unix.ByteSliceToString(name.Release[:]))
	}
	if data, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load = strings.Join(strings.Fields(string(data))[:3], " ")
	}
	return m
}

// field is the value of the first line of a name in /proc/cpuinfo.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
