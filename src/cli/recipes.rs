//! `entoptic recipes`

use entoptic::synthesis::recipe::Recipe;

use super::args::{RecipesArgs, RecipesCommand};

pub fn run(args: RecipesArgs) -> anyhow::Result<()> {
    match args.command {
        None => {
            for name in Recipe::names() {
                println!("{name:<14} {}", Recipe::named(name)?.description);
            }
        }
        Some(RecipesCommand::Show { name }) => print!("{}", Recipe::source_text(&name)?),
    }
    Ok(())
}
