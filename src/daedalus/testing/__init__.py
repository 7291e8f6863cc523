"""The shipped test kit: conformance suites, a fake clock, faulty storage, scripted exchanges."""
