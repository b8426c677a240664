"""What the measurement cost, in units a person knows."""

from spectra.recommend.advice import Advice
from spectra.report.numbers import number

__all__ = ["cost", "cost_sentence"]


def cost(advice: Advice) -> dict[str, float | int | None]:
    """Return the cost: products, gradients, gradients of single samples, training steps and epochs worth as much."""
    attributes = advice.run.attributes
    samples = attributes.get("sample_gradients")
    batch, size = int(attributes.get("batch_size", 0) or 0), advice.run.num_samples
    total = None if samples is None else float(samples)
    return {
        "num_matvecs": int(attributes.get("num_matvecs", 0)),
        "num_gradients": int(attributes.get("num_gradients", 0)),
        "sample_gradients": total,
        "training_steps": None if total is None or not batch else total / batch,
        "epochs": None if total is None or not size else total / size,
        "seconds": float(attributes.get("seconds", 0.0)),
        "seed": int(attributes.get("seed", 0)),
    }


def cost_sentence(advice: Advice) -> str:
    """Return the cost in one sentence."""
    spent = cost(advice)
    if not spent["num_matvecs"] and not spent["num_gradients"]:
        return "Cost: nothing was measured."
    sentence = f"Cost: {spent['num_matvecs']} curvature products and {spent['num_gradients']} gradients of batches"
    if spent["training_steps"] is not None:
        sentence += (
            f", as much as {round(spent['training_steps'])} training steps at batch size "
            f"{int(advice.run.attributes['batch_size'])} ({number(spent['epochs'], 2)} epochs)"
        )
    return f"{sentence}; {spent['seconds']:.1f} s, seed {spent['seed']}."
