package outbox

// job is an attempt to be made.
type job struct {
	p     pointer
	probe bool
}

// employ gives a job to a worker that waits for one, or to a new one. s.mu is held.
//
// A worker makes one attempt after the other, because its stack has grown by then to what an attempt needs: to grow it again
// for each attempt was a sixteenth of the CPU of a push.
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

// labour makes attempts until nothing is in hand. A worker whose handler ends its goroutine is not in the list, and gets no
// other job.
func (s *Sender) labour(j job) {
	jobs := make(chan job, 1)
	for more := true; more; j, more = <-jobs {
		s.try(j.p, j.probe)
		if !s.wantsMore(jobs) {
			return
		}
	}
}

// wantsMore puts a worker that has made its attempt into the list, unless nothing is in hand: a quiet sender has no
// workers.
func (s *Sender) wantsMore(jobs chan<- job) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.roster.inHand == 0 {
		return false
	}
	s.idle = append(s.idle, jobs)
	return true
}

// dismiss ends the workers that wait. s.mu is held.
func (s *Sender) dismiss() {
	for _, jobs := range s.idle {
		close(jobs)
	}
	s.idle = nil
}
