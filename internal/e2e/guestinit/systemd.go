package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// A guest may have systemd as its process 1. What carries out the host's requests is started first, and stays beside it.

// handOver makes this process systemd.
func handOver(problem error) {
	words := []string{"beside"}
	if problem != nil {
		words = append(words, problem.Error())
	}
	err := exec.Command("/init", words...).Start()
	for _, name := range []string{"/usr/lib/systemd/systemd", "/lib/systemd/systemd"} {
		if err == nil && os.Getpid() == 1 {
			err = syscall.Exec(name, []string{name}, os.Environ())
		}
		if errors.Is(err, os.ErrNotExist) {
			err = nil
			continue
		}
		break
	}
	fmt.Println("no systemd:", err)
}

// besideSystemd waits until systemd is done with the console, which it makes a terminal for people.
func besideSystemd(problems []string) error {
	os.Setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin")
	os.Setenv("HOME", "/tmp")
	for range 600 {
		if _, err := os.Stat("/run/systemd/private"); err == nil {
			if len(problems) > 0 {
				return errors.New(problems[0])
			}
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return errors.New("systemd does not answer")
}
