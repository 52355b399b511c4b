//! `entoptic recipes`

use clap::{Args, Subcommand};
use entoptic::synthesis::recipe::Recipe;

#[derive(Args)]
pub struct RecipesArgs {
    #[command(subcommand)]
    pub command: Option<RecipesCommand>,
}

#[derive(Subcommand)]
pub enum RecipesCommand {
    /// Print a recipe, to be saved and changed
    Show {
        /// Its name
        name: String,
    },
}

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
