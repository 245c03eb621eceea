from bench.run import Run


def run(run: Run) -> None:
    pass
