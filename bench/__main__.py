"""Run the benchmarks: `python -m bench`, from the root of the project."""

# Only imported when asked for: processes that multiprocessing spawns run this file too.
if __name__ == "__main__":
    from .run import main

    main()
