package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// cpuOf returns the CPU time that a process has used, in user mode and in the kernel, to the nanosecond:
// /proc/PID/stat counts in hundredths of a second.
//
// Source: clock_getcpuclockid(3); the kernel's include/linux/posix-timers.h (CPUCLOCK_SCHED).
func cpuOf(tb testing.TB, pid int) time.Duration {
	tb.Helper()
	const ofProcess = 2
	var used unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|ofProcess), &used); err != nil {
		tb.Fatalf("CPU of process %d: %v", pid, err)
	}
	return time.Duration(used.Nano())
}

// cpuOfThread returns the CPU time that the calling thread has used. The caller must have locked its goroutine to the
// thread.
func cpuOfThread(tb testing.TB) time.Duration {
	tb.Helper()
	var used unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &used); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(used.Nano())
}

// memory is how much memory a process holds, in bytes.
type memory struct {
	resident int64
	private  int64 // of that, what no other process and no file holds: the kernel cannot take it back
	mapped   int64 // pages of files, above all the data file's and the program's
}

// memoryOf reads how much memory a process holds. A page of the data file lies in the kernel's cache whether the
// process has mapped it or not, so only anonymous pages count as private.
//
// Source: the kernel's Documentation/filesystems/proc.rst (smaps_rollup).
func memoryOf(tb testing.TB, pid int) memory {
	tb.Helper()
	rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		tb.Fatal(err)
	}
	fields := map[string]int64{}
	for line := range strings.Lines(string(rollup)) {
		name, rest, found := strings.Cut(line, ":")
		value, _, isSize := strings.Cut(strings.TrimSpace(rest), " kB")
		if !found || !isSize {
			continue
		}
		kib, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			tb.Fatalf("smaps_rollup: %q", line)
		}
		fields[name] = kib << 10
	}
	m := memory{resident: fields["Rss"], private: fields["Anonymous"]}
	m.mapped = m.resident - m.private
	return m
}

// machine describes the machine that was measured.
func machine(tb testing.TB) string {
	tb.Helper()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		tb.Fatal(err)
	}
	return fmt.Sprintf("%s, %d cores, Linux %s, %s; load average %s at the start",
		processor(), runtime.NumCPU(), unix.ByteSliceToString(name.Release[:]), runtime.Version(), loadAverage())
}

// processor returns the model of the machine's CPU.
func processor() string {
	cpus, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	for line := range strings.Lines(string(cpus)) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

// loadAverage returns the machine's load of the last minute: it shows what else ran.
func loadAverage() string {
	average, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	minute, _, _ := strings.Cut(string(average), " ")
	return minute
}
