package outbox

// job is an attempt to be made.
type job struct {
	p     pointer
	probe bool
}

// employ gives a job to a waiting worker, or to a new one. The caller holds s.mu.
//
// Workers are reused because their stacks have already grown: to grow a new stack for each attempt took a sixteenth of
// the CPU of a push.
func (s *Sender) employ(j job) {
	last := len(s.idle) - 1
	if last < 0 {
		go s.labour(j)
		return
	}
	s.idle[last] <- j // it has room: a worker is in the list once for each job
	s.idle[last] = nil
	s.idle = s.idle[:last]
}

// labour makes attempts until nothing is under way. If a handler ends the worker's goroutine (runtime.Goexit), the
// worker is not in the list and gets no other job.
func (s *Sender) labour(j job) {
	jobs := make(chan job, 1)
	for more := true; more; j, more = <-jobs {
		s.try(j.p, j.probe)
		if !s.wantsMore(jobs) {
			return
		}
	}
}

// wantsMore puts a worker that has made its attempt into the list of idle workers. When no attempt is under way it does
// not: a quiet sender keeps no workers.
func (s *Sender) wantsMore(jobs chan<- job) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.roster.inHand == 0 {
		return false
	}
	s.idle = append(s.idle, jobs)
	return true
}

// dismiss ends the idle workers. The caller holds s.mu.
func (s *Sender) dismiss() {
	for _, jobs := range s.idle {
		close(jobs)
	}
	s.idle = nil
}
