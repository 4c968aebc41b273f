"""Record a run that a training library makes: one line for its trainer.

| module       | for                                  | the line                                                    |
| ------------ | ------------------------------------ | ----------------------------------------------------------- |
| transformers | the Trainer of Hugging Face          | `Trainer(…, callbacks=[RecordCallback("run.zarr")])`        |
| lightning    | the Trainer of Lightning             | `Trainer(…, callbacks=[RecordCallback("run.zarr")])`        |
| session      | what the two share                   |                                                             |

Each module imports its library, and nothing else imports these modules. With Accelerate, the loop is your own: see
docs/own-run.md.
"""
