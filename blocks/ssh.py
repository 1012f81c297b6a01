"""Run one command on one machine over SSH: argv in, (status, stdout, stderr) or bytes out."""
