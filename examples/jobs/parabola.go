// A trial in Go: three steps down a parabola, with the step size x that is asked for.
//
//	go build parabola.go         and, as the objective of a sweep: Job(command=["./parabola"])
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

const (
	steps       = 3
	interrupted = 75
)

// What the trial is told, as far as it wants to know.
type trial struct {
	Params struct {
		X float64 `json:"x"`
	} `json:"params"`
	Folder        string  `json:"folder"`
	CheckpointDir string  `json:"checkpoint_dir"`
	UntilStep     *int    `json:"until_step"`  // nil: to its own end
	ResumeFrom    *string `json:"resume_from"` // nil: from the beginning
}

type report struct {
	Step       int                `json:"step"`
	Metrics    map[string]float64 `json:"metrics"`
	Checkpoint string             `json:"checkpoint"`
}

func main() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGUSR2)
	var told trial
	text, err := os.ReadFile(os.Getenv("METTA_SWEEP_TRIAL"))
	check(err)
	check(json.Unmarshal(text, &told))
	if told.Params.X <= 0 {
		write(map[string]any{"failure": map[string]string{"kind": "infeasible", "message": "x has to be above 0"}})
		os.Exit(1)
	}
	check(os.MkdirAll(told.CheckpointDir, 0o777))
	step, w := 0, 10.0
	if told.ResumeFrom != nil {
		text, err := os.ReadFile(*told.ResumeFrom)
		check(err)
		_, err = fmt.Sscan(string(text), &step, &w)
		check(err)
	}
	for step < steps {
		step, w = step+1, w-told.Params.X*2*w // the slope of the parabola w * w
		checkpoint := filepath.Join(told.CheckpointDir, fmt.Sprintf("step-%d", step))
		durably(checkpoint, os.O_TRUNC, fmt.Sprintln(step, w)) // before the line that names it
		write(report{step, map[string]float64{"loss": w * w}, checkpoint})
		if told.UntilStep != nil && step >= *told.UntilStep || isStopped(told.Folder) || len(signals) > 0 {
			os.Exit(interrupted)
		}
	}
}

func isStopped(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, "stop"))
	return err == nil
}

// write appends a line to the reports.
func write(line any) {
	text, err := json.Marshal(line)
	check(err)
	durably(os.Getenv("METTA_SWEEP_REPORTS"), os.O_APPEND, string(text)+"\n")
}

// durably writes a text to a file, by one write.
func durably(path string, how int, text string) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|how, 0o666)
	check(err)
	_, err = file.WriteString(text)
	check(err)
	check(file.Sync())
	check(file.Close())
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
